// A read-only disk whose bytes are fetched over HTTP when the guest asks for them:
//   DISK_URL=https://example.org/disk.img ./belfry serve blk ./examples/http-range-disk.ts --socket /tmp/http.sock
import type { BlockStore } from 'belfry';

export default async function httpRangeDisk(url = process.env.DISK_URL): Promise<BlockStore> {
  if (url === undefined) throw new Error('set DISK_URL to the address of a disk image');
  const head = await fetch(url, { method: 'HEAD' });
  const sizeBytes = Number(head.headers.get('content-length') ?? 0);
  if (!head.ok || sizeBytes === 0 || sizeBytes % 512 !== 0)
    throw new Error(`${url} is no disk image: status ${head.status}, ${sizeBytes} bytes`);

  return {
    sizeBytes,
    name: url,
    // A rejected promise fails its one request; the guest may try again.
    async read(offset, into) {
      const range = `bytes=${offset}-${offset + into.length - 1}`;
      const response = await fetch(url, { headers: { range } });
      const bytes = response.status === 206 ? await response.bytes() : undefined;
      if (bytes?.length !== into.length) throw new Error(`${url} gave status ${response.status} for ${range}`);
      into.set(bytes);
    },
  };
}
