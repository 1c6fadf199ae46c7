// Decodes exits that a payload cannot cause on every machine, from a made-up run page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KVM_RUN, KVM_SYSTEM_EVENT_RESET } from './constants.ts';
import { Exits } from './exits.ts';

/** A run page with this reason, and what `fill` writes. */
function exitsOf(reason: number, fill: (view: DataView) => void = () => {}): Exits {
  const page = new Uint8Array(4096);
  const view = new DataView(page.buffer);
  view.setUint32(KVM_RUN.exitReason, reason, true);
  fill(view);
  return new Exits(page);
}

test('a refused entry names reason and processor', () => {
  const exits = exitsOf(9, (view) => {
    view.setBigUint64(KVM_RUN.failEntryReason, 0x8000_0021n, true);
    view.setUint32(KVM_RUN.failEntryCpu, 3, true);
  });
  assert.equal(exits.describe(), 'the processor refused to enter the guest: reason 0x80000021 on processor 3');
});

test('a system event has its type', () => {
  const exits = exitsOf(24, (view) => view.setUint32(KVM_RUN.systemEventType, KVM_SYSTEM_EVENT_RESET, true));
  assert.equal(exits.systemEvent, KVM_SYSTEM_EVENT_RESET);
  assert.equal(exits.describe(), 'system event 2');
});

test('an instruction that could not be emulated is shown, if the kernel gave its bytes', () => {
  const exits = exitsOf(17, (view) => {
    view.setUint32(KVM_RUN.internalSuberror, 1, true);
    view.setUint32(KVM_RUN.internalDataCount, 4, true);
    view.setBigUint64(KVM_RUN.emulationFlags, 1n, true);
    [2, 0x0f, 0x0b].forEach((byte, i) => {
      view.setUint8(KVM_RUN.emulationInstructionSize + i, byte);
    });
  });
  assert.equal(exits.describe(), 'KVM could not emulate 0f 0b');
  const without = exitsOf(17, (view) => view.setUint32(KVM_RUN.internalSuberror, 1, true));
  assert.equal(without.describe(), 'KVM could not emulate an instruction');
  assert.equal(exitsOf(17).describe(), 'KVM internal error 0');
});

test('an impossible instruction size shows no more bytes than there is room for', () => {
  const exits = exitsOf(17, (view) => {
    view.setUint32(KVM_RUN.internalSuberror, 1, true);
    view.setUint32(KVM_RUN.internalDataCount, 4, true);
    view.setBigUint64(KVM_RUN.emulationFlags, 1n, true);
    view.setUint8(KVM_RUN.emulationInstructionSize, 255);
  });
  assert.equal(exits.describe().split(' ').length, 4 + 15);
});

test('an address of more than 32 bits is whole', () => {
  const exits = exitsOf(6, (view) => {
    view.setBigUint64(KVM_RUN.mmioAddress, 0xf_ffff_ffff_f004n, true);
    view.setUint32(KVM_RUN.mmioLength, 4, true);
  });
  assert.equal(exits.mmio.address, 0xf_ffff_ffff_f004);
  assert.equal(exits.describe(), 'read from address 0xffffffffff004, 4 bytes');
});

test('an unknown reason is shown with the hardware reason', () => {
  const exits = exitsOf(99, (view) => view.setBigUint64(KVM_RUN.hardwareExitReason, 0x30n, true));
  assert.equal(exits.describe(), 'exit reason 99, hardware reason 0x30');
});
