// A filter of your own: what the guest writes is stored scrambled. (XOR hides nothing: put a cipher in its place.)
//   DISK=./disk.img ./belfry serve blk ./examples/filter.ts --socket /tmp/filter.sock
import { type BlockStore, forward, openStore, type StoreFilter } from 'belfry';

function scramble(bytes: Uint8Array, offset: number, key: number): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] as number) ^ (key + offset + i);
}

export function scrambled(key: number): StoreFilter {
  return (next) => {
    const store = forward(next);
    store.read = async (offset, into) => {
      await next.read(offset, into);
      scramble(into, offset, key);
    };
    if (next.write !== undefined) {
      store.write = async (offset, from) => {
        const copy = from.slice(); // `from` is the guest's memory, which must not be changed
        scramble(copy, offset, key);
        await next.write?.(offset, copy);
      };
    }
    // Without these members the device serves pieces one by one and does not offer WRITE_ZEROES,
    // since zeroes in the store would not be zeroes for the guest.
    delete store.readv;
    delete store.writev;
    delete store.writeZeroes;
    return store;
  };
}

export default function scrambledDisk(): BlockStore {
  return scrambled(0x5a)(openStore(process.env.DISK ?? 'mem:64M').store);
}
