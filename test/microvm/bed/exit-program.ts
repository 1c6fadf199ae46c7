// test/microvm/bed: a program of 170 bytes for the guest: it ends the machine with a code. Debian's cloud kernel has no /dev/port.

const EXIT_PORT = 0xf4;
const LOAD_ADDRESS = 0x40_0000;
const HEADERS_BYTES = 64 + 56;

/** `exit-machine CODE`: iopl(3), then a byte to the exit port of `belfry run`. x86-64, no libraries. */
const CODE = [
  ...[0xb8, 172, 0, 0, 0], // mov eax, iopl
  ...[0xbf, 3, 0, 0, 0], // mov edi, 3
  ...[0x0f, 0x05], // syscall
  ...[0x48, 0x8b, 0x74, 0x24, 0x10], // mov rsi, [rsp + 16]: argv[1]
  ...[0x31, 0xc0], // xor eax, eax
  ...[0x0f, 0xb6, 0x16], // digit: movzx edx, byte [rsi]
  ...[0x85, 0xd2], // test edx, edx
  ...[0x74, 12], // jz done
  ...[0x6b, 0xc0, 10], // imul eax, eax, 10
  ...[0x8d, 0x44, 0x10, 0xd0], // lea eax, [rax + rdx - '0']
  ...[0x48, 0xff, 0xc6], // inc rsi
  ...[0xeb, 0xed], // jmp digit
  ...[0xe6, EXIT_PORT], // done: out EXIT_PORT, al
  ...[0xb8, 60, 0, 0, 0], // mov eax, exit
  ...[0x0f, 0x05], // syscall
];

/** The program as an ELF executable with one segment. elf(5). */
export function exitProgram(): Uint8Array {
  const bytes = new Uint8Array(HEADERS_BYTES + CODE.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  const ET_EXEC = 2;
  const EM_X86_64 = 62;
  view.setUint16(16, ET_EXEC, true);
  view.setUint16(18, EM_X86_64, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(LOAD_ADDRESS + HEADERS_BYTES), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  const [PT_LOAD, READ_AND_EXECUTE] = [1, 5];
  view.setUint32(64, PT_LOAD, true);
  view.setUint32(68, READ_AND_EXECUTE, true);
  view.setBigUint64(80, BigInt(LOAD_ADDRESS), true);
  view.setBigUint64(88, BigInt(LOAD_ADDRESS), true);
  view.setBigUint64(96, BigInt(bytes.length), true);
  view.setBigUint64(104, BigInt(bytes.length), true);
  view.setBigUint64(112, 4096n, true);
  bytes.set(CODE, HEADERS_BYTES);
  return bytes;
}
