// doctor: memory that two processes can share: memfd, /dev/shm, huge pages.
import { accessSync, constants, existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { createMemfd } from '../src/kvm/index.ts';
import { closeFd } from '../src/sys/libc.ts';
import type { Finding } from './finding.ts';

const SHM = '/dev/shm';
const SHM_BYTES = 512 * 2 ** 20;
const HUGE_PAGES = '/sys/kernel/mm/hugepages';

export function examineMemory(): Finding[] {
  return [memfd(), sharedMemory(), hugePages()];
}

function memfd(): Finding {
  const finding = { name: 'memfd', goodFor: 'guest memory that the back end maps; disks of memory (mem:1G)' };
  try {
    closeFd(createMemfd('belfry-doctor', 4096));
    return { ...finding, state: 'ok', found: 'memfd_create works', advice: '' };
  } catch (error) {
    const advice = 'it needs Linux 3.17, and a sandbox that does not forbid it';
    return { ...finding, state: 'broken', found: (error as Error).message, advice };
  }
}

function sharedMemory(): Finding {
  const finding = {
    name: SHM,
    goodFor: 'images in memory, served without a system call; the memory of User-Mode Linux',
  };
  const advice = `a container gets more with --shm-size 1g; else: mount -o remount,size=1G,exec ${SHM}`;
  try {
    accessSync(SHM, constants.W_OK);
    const { bavail, bsize } = statfsSync(SHM);
    const free = bavail * bsize;
    const noExec = mountOptions(SHM).includes('noexec') ? ', noexec (User-Mode Linux cannot use it)' : '';
    const state = free >= SHM_BYTES ? 'ok' : 'absent';
    return {
      ...finding,
      state,
      found: `${gibibytes(free)} free${noExec}`,
      advice: state === 'ok' && noExec === '' ? '' : advice,
    };
  } catch (error) {
    return { ...finding, state: 'absent', found: (error as Error).message, advice };
  }
}

function hugePages(): Finding {
  const sizes = existsSync(HUGE_PAGES) ? readdirSync(HUGE_PAGES) : [];
  const reserved = sizes
    .map((folder) => ({
      size: folder.replace('hugepages-', ''),
      count: numberIn(`${HUGE_PAGES}/${folder}/nr_hugepages`),
    }))
    .filter(({ count }) => count > 0);
  const mount = /^\S+ (\S+) hugetlbfs /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1];
  const pages = reserved.map(({ size, count }) => `${count} of ${size}`).join(', ') || 'none reserved';
  return {
    name: 'hugepages',
    state: reserved.length > 0 ? 'ok' : 'absent',
    found: `${pages}, ${mount === undefined ? 'hugetlbfs not mounted' : `hugetlbfs at ${mount}`}`,
    goodFor: 'fewer page faults and TLB misses under large guests and images',
    advice:
      reserved.length > 0 && mount !== undefined
        ? ''
        : 'as root: sysctl vm.nr_hugepages=512; mkdir -p /dev/hugepages; mount -t hugetlbfs none /dev/hugepages',
  };
}

function mountOptions(folder: string): string[] {
  const line = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .findLast((text) => text.split(' ')[1] === folder);
  return line?.split(' ')[3]?.split(',') ?? [];
}

function numberIn(path: string): number {
  return Number(readFileSync(path, 'utf8'));
}

function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
