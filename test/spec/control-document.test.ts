// test/spec: docs/control.md has every method and event of the control socket as their table has them.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CLIENTS_MAX } from '../../src/daemon/control/control-server.ts';
import { LINE_CHARS_MAX } from '../../src/daemon/control/control-session.ts';
import { CODES } from '../../src/daemon/control/json-rpc.ts';
import { METHODS } from '../../src/daemon/control/methods.ts';
import { problemsOf } from '../../src/daemon/control/schema.ts';
import { controlDocument } from './control-document.ts';

const PAGE = join(import.meta.dirname, '../../docs/control.md');

test('docs/control.md: methods and events (BELFRY_WRITE=1 writes them)', () => {
  const page = readFileSync(PAGE, 'utf8');
  const begin = page.indexOf('## Methods\n');
  assert.ok(begin > 0);
  if (process.env.BELFRY_WRITE === '1') writeFileSync(PAGE, page.slice(0, begin) + controlDocument());
  else assert.equal(page.slice(begin), controlDocument());
});

test('docs/control.md: codes of errors and bounds', () => {
  const page = readFileSync(PAGE, 'utf8');
  for (const code of Object.values(CODES))
    if (code !== CODES.internal) assert.ok(page.includes(`| ${code} |`), `${code}`);
  assert.ok(page.includes(`${CLIENTS_MAX} clients`));
  assert.ok(page.includes(`${LINE_CHARS_MAX / 1024} Ki characters`));
});

test('a schema finds what is wrong, and where', () => {
  const { params } = METHODS.limits;
  assert.deepEqual(problemsOf(params, { device: 'a', iops: 5, burst: 0.5, scope: 'all' }), []);
  const found = problemsOf(params, { device: 1, iops: 1.5, bps: -1, scope: 'some', Burst: 1 });
  assert.deepEqual(
    found.map(({ path, message }) => `${path.join('.')}: ${message}`),
    [
      'device: it is a text',
      'iops: it is a whole number from 0 to 10000000',
      'bps: it is a whole number from 0 to 1099511627776',
      'scope: it is one of: all, reads, writes',
      'Burst: "Burst" is not known; did you mean "burst"?',
    ],
  );
  for (const value of [null, [], 'x', 3]) assert.equal(problemsOf(params, value)[0]?.message, 'it is an object');
  assert.deepEqual(problemsOf(METHODS.list.result, {}), [{ path: [], message: '"devices" is missing' }]);
  assert.deepEqual(problemsOf(METHODS.subscribe.params, { events: ['left', 'right'] })[0]?.path, ['events', 1]);
});
