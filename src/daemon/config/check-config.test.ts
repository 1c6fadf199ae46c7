// The file of `belfry up`: comments and commas, and every problem with its line.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ConfigError, checkConfig } from './check-config.ts';
import { ConfigTextError, parseConfigText } from './config-text.ts';

const problems = (text: string): readonly string[] => {
  try {
    checkConfig('f', text);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.lines;
  }
};

suite('the text', () => {
  test('JSON with comments and trailing commas, and the line of each place', () => {
    const { value, lineOf } = parseConfigText(`\ufeff// first
{
  "a": 1, /* two
  lines */ "b": [
    true,
    { "c": "\\u0041 // no comment", },
  ],
}
`);
    assert.deepEqual(value, { a: 1, b: [true, { c: 'A // no comment' }] });
    assert.deepEqual(
      [lineOf([]), lineOf(['a']), lineOf(['b']), lineOf(['b', 0]), lineOf(['b', 1, 'c'])],
      [2, 3, 4, 5, 6],
    );
    assert.deepEqual([lineOf(['b', 1, 'none', 2]), lineOf(['z'])], [6, 2]);
    const { value: strange } = parseConfigText('{ "__proto__": { "x": 1 } }');
    assert.deepEqual(Object.keys(strange as object), ['__proto__']);
  });

  for (const [text, line, what] of [
    ['', 1, /a value is missing/],
    ['{\n"a": 1\n"b": 2 }', 3, /a comma or } is missing after "a"/],
    ['{ "a": 1, "a": 2 }', 1, /"a" is there twice/],
    ['{ "a" 1 }', 1, /a colon is missing after "a"/],
    ['{ a: 1 }', 1, /a name in quotes is expected at: a: 1 }/],
    ['{\n\n"a": "b\n" }', 3, /a value is expected at: "b/],
    ['[1 2]', 1, /a comma or \] is missing/],
    ['{} {}', 1, /nothing more is expected/],
    ['"\\x"', 1, /is no text of JSON/],
    ['/* open', 1, /a value is expected/],
    ['['.repeat(100_000), 1, /nested too deeply/],
  ] as const)
    test(`refused: ${text.slice(0, 20).replaceAll('\n', '\\n')}`, () => {
      assert.throws(
        () => parseConfigText(text),
        (error) => error instanceof ConfigTextError && error.line === line && what.test(error.message),
      );
    });
});

suite('the file', () => {
  test('devices by name, in their order', () => {
    const { devices, options } = checkConfig(
      'f',
      '{"control": "c", "devices": {"web": {"kind": "blk", "store": "x", "socket": "a"}, "r": {"kind": "rng", "socket": "b"}}}',
    );
    assert.deepEqual(options, { control: 'c' });
    assert.deepEqual(devices, [
      { name: 'web', kind: 'blk', socket: 'a', options: { store: 'x' } },
      { name: 'r', kind: 'rng', socket: 'b', options: {} },
    ]);
  });

  test('every problem is found, each with its line', () => {
    assert.deepEqual(
      problems(`{
  "controll": "x",
  "control": "/tmp/b.sock",
  "devices": {
    "a": { "kind": "blk", "store": "x", "socket": "/tmp/a.sock", "readonly": true },
    "b": {
      "kind": "rng",
      "socket": "/tmp/./a.sock",
    },
    "c": { "kind": "floppy", "socket": "/tmp/b.sock" },
    "d": { "socket": "/tmp/d.sock" },
    "E": { "kind": "rng" },
    "f": { "kind": "vsock", "cid": 1, "socket": "/tmp/f.sock" },
    "g": 7,
  },
}`),
      [
        'f:2: controll: "controll" is not known; known are: $schema, control, metrics, log, json, quiet, stop-timeout',
        'f:5: devices.a.readonly: "readonly" is not known; did you mean "read-only"?',
        'f:10: devices.c.kind: it is one of: blk, rng, net, vsock, module',
        'f:11: devices.d: "kind" is missing: blk, rng, net, vsock, module',
        'f:12: devices.E: a name has small letters, digits, dots, hyphens and underscores, and at most 64',
        'f:13: devices.f: "uds" is missing',
        'f:13: devices.f.cid: it is a whole number from 3 to 4294967294',
        'f:14: devices.g: "kind" is missing: blk, rng, net, vsock, module',
        'f:8: devices.b.socket: /tmp/./a.sock is that of devices.a already',
        'f:10: devices.c.socket: /tmp/b.sock is that of control already',
      ],
    );
    assert.deepEqual(problems('[]'), ['f:1: the file is an object: { "devices": { … } }']);
    assert.deepEqual(problems('{}'), ['f:1: "devices" is missing']);
    assert.deepEqual(problems('{\n"devices": {}}'), ['f:2: devices: there is no device']);
    assert.deepEqual(problems('{\n"devices": []}'), ['f:2: devices: it is an object: a device by its name']);
    assert.deepEqual(problems('{\n"devices": {"a": {"kind": "rng", "socket": 5}}}'), [
      'f:2: devices.a.socket: it is a text',
    ]);
  });
});
