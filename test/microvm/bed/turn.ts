// test/microvm/bed: a bed keeps a processor busy, so only a few stand on one machine at a time.
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';

const PLACES = 2;

// An abstract socket is bound by exactly one process, and released by the kernel when that process ends.
const slotName = (name: string, slot: number): string => `\0belfry-${name}-${slot}`;

async function take(slot: string): Promise<Disposable | undefined> {
  const waiting = new Set<Socket>();
  const server = createServer((socket) => void waiting.add(socket.unref().on('error', () => {}))).unref();
  server.listen(slot);
  try {
    await once(server, 'listening');
  } catch {
    return undefined;
  }
  return {
    [Symbol.dispose]() {
      server.close();
      for (const socket of waiting) socket.destroy();
    },
  };
}

/** Resolves when the process that holds the slot releases it. */
async function freed(slot: string): Promise<void> {
  const socket = createConnection(slot);
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('close', resolve));
}

/** Waits until one of the places for `name` is free; calls `onWait` once if it has to wait. */
export async function takeTurn(onWait: () => void, name = 'bed'): Promise<Disposable> {
  const slots = Array.from({ length: PLACES }, (_, slot) => slotName(name, slot));
  for (let isFirst = true; ; isFirst = false) {
    for (const slot of slots) {
      const place = await take(slot);
      if (place !== undefined) return place;
    }
    if (isFirst) onWait();
    await Promise.race(slots.map(freed));
  }
}
