// Who may import whom: the floors of the house as a table, and the rules that hold it up.
import { posix } from 'node:path';
import { importsOf, isCode, isTest, type Rule, roomOf, type SourceFile } from './source-file.ts';

interface Room {
  readonly rooms: readonly string[];
  /** Single files it may import the types of. */
  readonly types?: readonly string[];
  readonly node: boolean;
  readonly packages: boolean;
}

const LOWER = ['sys', 'virtio', 'notify', 'kvm', 'devices', 'ports', 'stores', 'transports'];
const MIDDLE = [...LOWER, 'serve', 'daemon', 'vmm'];
const pure = { node: false, packages: false };
const onNode = { node: true, packages: false };
const upper = { node: true, packages: true };

const stairs: Readonly<Record<string, Room>> = {
  virtio: { rooms: [], ...pure },
  notify: { rooms: [], ...pure },
  sys: { rooms: [], ...onNode },
  kvm: { rooms: ['sys'], ...onNode },
  devices: { rooms: ['virtio'], ...pure },
  stores: { rooms: ['sys'], types: ['src/devices/blk/block-store.ts'], ...onNode },
  ports: { rooms: ['sys'], types: ['src/devices/net/net-port.ts', 'src/devices/vsock/vsock-port.ts'], ...onNode },
  transports: { rooms: ['sys', 'virtio', 'notify'], ...onNode },
  serve: { rooms: MIDDLE, ...onNode },
  daemon: { rooms: MIDDLE, ...upper },
  vmm: { rooms: MIDDLE, ...upper },
  guests: { rooms: [], ...onNode },
  testing: { rooms: MIDDLE, ...onNode },
  index: { rooms: MIDDLE, ...onNode },
  bench: { rooms: [...MIDDLE, 'testing', 'index'], ...upper },
  demo: { rooms: [...MIDDLE, 'index', 'guests', 'bench'], ...upper },
  doctor: { rooms: [...MIDDLE, 'index', 'guests'], ...upper },
  cli: { rooms: [...MIDDLE, 'guests', 'testing', 'index', 'bench', 'demo', 'doctor'], ...upper },
};

/** Why a file of `room` may not import `target`; `undefined` if it may. */
function objection(path: string, room: Room, target: string, isType: boolean): string | undefined {
  const [from, to] = [roomOf(path), roomOf(target)];
  if (to === undefined) return `${target} is no room of the product`;
  if (from === to) {
    const [here, there] = [path, target].map((file) => posix.dirname(file));
    const isNeighbour = from === 'devices' && here !== there;
    return isNeighbour ? `one device imports another: ${target}` : undefined;
  }
  if (room.rooms.includes(to) || (isTest(path) && to === 'testing')) return undefined;
  return isType && room.types?.includes(target) ? undefined : `${from} may not import ${target}`;
}

export const importsGoDown: Rule = {
  name: 'a room imports only what the stairs allow',
  appliesTo: (path) => roomOf(path) !== undefined && isCode(path),
  findings({ path, text }) {
    const room = stairs[roomOf(path) ?? ''];
    if (room === undefined) return [`the room ${roomOf(path)} is not in the table of the stairs`];
    return importsOf(text).flatMap(({ specifier, isType }) => {
      if (specifier.startsWith('node:')) {
        return room.node || isTest(path) ? [] : [`${roomOf(path)} is pure and may not import ${specifier}`];
      }
      if (!specifier.startsWith('.')) return [];
      return objection(path, room, posix.join(posix.dirname(path), specifier), isType) ?? [];
    });
  },
  bad: [
    { path: 'src/virtio/a.ts', text: "import { x } from '../sys/x.ts';" },
    { path: 'src/virtio/a.ts', text: "import { x } from 'node:fs';" },
    { path: 'src/sys/a.ts', text: "export { x } from '../virtio/x.ts';" },
    { path: 'src/devices/blk/a.ts', text: "import {\n  x,\n  y,\n} from '../../stores/x.ts';" },
    { path: 'src/devices/blk/a.ts', text: "import type { X } from '../net/x.ts';" },
    { path: 'src/stores/a.ts', text: "import { X } from '../devices/blk/block-store.ts';" },
    { path: 'src/stores/a.ts', text: "import type { X } from '../transports/x.ts';" },
    { path: 'src/transports/vhost-user/a.ts', text: "const x = await import('../../devices/blk/x.ts');" },
    { path: 'src/serve.ts', text: "import { x } from './cli/x.ts';" },
    { path: 'src/cli/a.ts', text: "import { x } from '../../test/x.ts';" },
    { path: 'src/attic/a.ts', text: '' },
  ],
  good: [
    { path: 'src/virtio/a.ts', text: "import { x } from './x.ts';\nimport type { Y } from './y.ts';" },
    { path: 'src/virtio/a.test.ts', text: "import { test } from 'node:test';\nimport { x } from '../testing/x.ts';" },
    { path: 'src/stores/filters/a.ts', text: "import type { X } from '../../devices/blk/block-store.ts';" },
    { path: 'src/cli/a.ts', text: "import { x } from '../serve.ts';" },
  ],
};

function packageRule(dependencies: readonly string[]): Rule['findings'] {
  return ({ path, text }: SourceFile) => {
    const room = stairs[roomOf(path) ?? ''];
    return importsOf(text).flatMap(({ specifier }) => {
      if (/^(?:\.|node:)/.test(specifier) || (isTest(path) && specifier === 'fast-check')) return [];
      if (room?.packages !== true) return [`${roomOf(path)} may not use the package ${specifier}`];
      return dependencies.includes(specifier) ? [] : [`${specifier} is not in the dependencies of package.json`];
    });
  };
}

/** `dependencies`: the packages that somebody who installs Belfry gets with it. */
export function packagesStayUp(dependencies: readonly string[]): Rule {
  return {
    name: 'the lower floors use no package, the upper ones only declared ones',
    appliesTo: (path) => roomOf(path) !== undefined && isCode(path),
    findings: packageRule(dependencies),
    bad: [
      { path: 'src/sys/a.ts', text: "import x from 'commander';" },
      { path: 'src/stores/a.test.ts', text: "import x from 'commander';" },
      { path: 'src/testing/a.ts', text: "import x from 'fast-check';" },
      { path: 'src/cli/a.ts', text: "import x from 'left-pad';" },
      { path: 'src/cli/a.ts', text: "import x from 'fs';" },
    ],
    good: [
      { path: 'src/cli/a.ts', text: "import { Command } from 'commander';\nimport { y } from './y.ts';" },
      { path: 'src/virtio/a.test.ts', text: "import fc from 'fast-check';" },
    ],
  };
}

export const ffiStaysInTheCellar: Rule = {
  name: 'node:ffi is imported only in src/sys, where every file says why it is safe',
  appliesTo: isFfiJudged,
  findings({ path, text }) {
    if (!importsOf(text).some(({ specifier }) => specifier === 'node:ffi')) return [];
    if (roomOf(path) !== 'sys') return ['imports node:ffi'];
    return text.includes('// SAFETY:') ? [] : ['imports node:ffi and has no "// SAFETY:" line'];
  },
  bad: [
    { path: 'src/kvm/a.ts', text: "import { dlopen } from 'node:ffi';\n// SAFETY: none" },
    { path: 'bin/a.ts', text: "const ffi = await import('node:ffi');" },
    { path: 'src/sys/a.ts', text: "import { dlopen } from 'node:ffi';" },
  ],
  good: [{ path: 'src/sys/a.ts', text: "import { dlopen } from 'node:ffi';\n// SAFETY: it lives for ever." }],
};

function isFfiJudged(path: string): boolean {
  return path.endsWith('.ts') && !path.startsWith('test/tidy/');
}
