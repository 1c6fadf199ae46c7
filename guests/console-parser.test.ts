// guests: parses the lines of a guest's console.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConsoleParser } from './console-parser.ts';

function parse(...lines: string[]): ConsoleParser {
  const parser = new ConsoleParser();
  for (const line of lines) parser.accept(line);
  return parser;
}

test('a step becomes its disk, name, result, milliseconds and bytes', () => {
  const parser = new ConsoleParser();
  const step = parser.accept('BELFRY step disk=vda name=write result=ok us=12345 bytes=1048576');
  assert.deepEqual(step, { disk: 'vda', name: 'write', ok: true, ms: 12.345, sizeBytes: 1048576 });
  assert.deepEqual(parser.steps, [step]);
});

test('the facts of two disks are told apart and come in their order', () => {
  const facts = (disk: string, serial: string, sectors: number) => [
    `BELFRY fact disk=${disk} serial=${serial}`,
    `BELFRY fact disk=${disk} sectors=${sectors}`,
    `BELFRY fact disk=${disk} logical-block-bytes=4096`,
    `BELFRY fact disk=${disk} queues=4`,
    `BELFRY fact disk=${disk} read-only=${disk === 'vdb' ? 1 : 0}`,
  ];
  const parser = parse('BELFRY fact disk= kernel=6.1.176', ...facts('vdb', 'two words', 16), ...facts('vda', '', 8));
  assert.equal(parser.kernel, '6.1.176');
  assert.deepEqual(parser.disks, [
    { name: 'vda', serial: '', sizeBytes: 4096, logicalBlockBytes: 4096, queues: 4, readOnly: false },
    { name: 'vdb', serial: 'two words', sizeBytes: 8192, logicalBlockBytes: 4096, queues: 4, readOnly: true },
  ]);
});

test('where an ext4 was looked for, the fact says where it was found, or that there is none', () => {
  const ext4 = (...facts: string[]) => parse('BELFRY fact disk=vda sectors=8', ...facts).disks[0]?.ext4;
  assert.equal(ext4(), undefined);
  assert.equal(ext4('BELFRY fact disk=vda ext4=vda1'), 'vda1');
  assert.equal(ext4('BELFRY fact disk=vda ext4='), '');
});

test('a line of the script is found behind a kernel message that did not end its own', () => {
  const parser = parse('[    1.5] vda: vda1BELFRY step disk=vda name=mount result=ok us=1 bytes=0');
  assert.equal(parser.steps[0]?.name, 'mount');
});

test('kernel messages and damaged lines change nothing', () => {
  const parser = parse('Linux version 6.1', 'BELFRY step disk=vda name=wri', 'BELFRY fact disk', 'BELFRY', '');
  assert.deepEqual([parser.steps, parser.disks, parser.kernel, parser.outcome], [[], [], '', undefined]);
});

test('the outcome is unknown until the script says it', () => {
  assert.equal(parse('BELFRY fact disk= kernel=6').outcome, undefined);
  assert.equal(parse('BELFRY done ok').outcome, 'ok');
  assert.equal(parse('BELFRY done failed').outcome, 'failed');
});

test('the last words are those of the failed command, not of the kernel at the end', () => {
  const parser = parse(
    'some kernel message',
    'BELFRY step disk=vda name=mkfs result=failed us=1 bytes=0',
    'mkfs.ext4: no space',
    '',
    'BELFRY done failed',
    'reboot: Power down',
  );
  assert.equal(parser.lastWords, 'mkfs.ext4: no space');
});
