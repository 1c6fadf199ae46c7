// The rules of the house that a single file can break, each with samples that show it is a rule.
import { isCode, isTest, type Rule, roomOf, withoutProse } from './source-file.ts';

const FILE_LINES_MAX = 350;
const LINE_CHARS_MAX = 140;
const BANNED_NAMES = ['utils', 'util', 'common', 'helpers', 'helper', 'types', 'misc'];

const isTidy = (path: string): boolean => path.startsWith('test/tidy');

/** A finding for each line of `text` that `pattern` matches. */
function linesMatching(text: string, pattern: RegExp): string[] {
  return text.split('\n').flatMap((line, i) => (pattern.test(line) ? [`line ${i + 1}: ${line.trim()}`] : []));
}

const plainNames: Rule = {
  name: 'files and folders are kebab-case and named after what they hold',
  appliesTo: isCode,
  findings({ path }) {
    const names = path.replace(/(\.test)?\.ts$/, '').split('/');
    const odd = names.filter((name) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)).map((name) => `not kebab-case: ${name}`);
    return [...odd, ...names.filter((name) => BANNED_NAMES.includes(name)).map((name) => `says nothing: ${name}`)];
  },
  bad: [
    { path: 'src/sys/utils.ts', text: '' },
    { path: 'src/common/a.ts', text: '' },
    { path: 'test/types.ts', text: '' },
    { path: 'src/sys/eventFd.ts', text: '' },
    { path: 'src/Sys/event-fd.ts', text: '' },
  ],
  good: [
    { path: 'src/sys/event-fd.ts', text: '' },
    { path: 'src/sys/event-fd.test.ts', text: '' },
  ],
};

const firstLineSpeaks: Rule = {
  name: 'the first line of a file says what it is',
  appliesTo: isCode,
  findings({ text }) {
    const first = text.replace(/^#!.*\n/, '').split('\n')[0] ?? '';
    return /^(\/\/ |\/\*\*? )\S/.test(first) ? [] : [`begins with "${first}"`];
  },
  bad: [
    { path: 'src/a.ts', text: "import x from 'y';" },
    { path: 'bin/a.ts', text: '#!/usr/bin/env node\nconst x = 1;' },
    { path: 'src/a.ts', text: '\n// late' },
  ],
  good: [
    { path: 'src/a.ts', text: '// A room.\n' },
    { path: 'bin/a.ts', text: '#!/usr/bin/env node\n// A room.\n' },
  ],
};

const shortFiles: Rule = {
  name: `a file of src has at most ${FILE_LINES_MAX} lines`,
  appliesTo: (path) => roomOf(path) !== undefined && !isTest(path),
  findings({ text }) {
    const lines = text.trimEnd().split('\n').length;
    return lines > FILE_LINES_MAX ? [`${lines} lines`] : [];
  },
  bad: [{ path: 'src/a.ts', text: 'x\n'.repeat(FILE_LINES_MAX + 1) }],
  good: [{ path: 'src/a.ts', text: 'x\n'.repeat(FILE_LINES_MAX) }],
};

const narrowLines: Rule = {
  name: `a line has at most ${LINE_CHARS_MAX} characters`,
  appliesTo: isCode,
  // Biome keeps code to 120; a sentence in a string is not cut for it, nor here.
  findings: ({ text }) => linesMatching(text, new RegExp(`^(?!.*['"\`<{].{70}).{${LINE_CHARS_MAX + 1}}`)),
  bad: [{ path: 'src/a.ts', text: `// ${'x'.repeat(LINE_CHARS_MAX)}` }],
  good: [{ path: 'src/a.ts', text: 'x'.repeat(LINE_CHARS_MAX) }],
};

const noBufferBelow: Rule = {
  name: 'there is no Buffer below the command line',
  appliesTo: (path) => roomOf(path) !== undefined && !isTest(path) && !['cli', 'bench'].includes(roomOf(path) ?? ''),
  findings: ({ text }) => linesMatching(withoutProse(text), /\bBuffer\b/),
  bad: [{ path: 'src/sys/a.ts', text: 'const x = Buffer.alloc(1);' }],
  good: [{ path: 'src/sys/a.ts', text: "// A Buffer moves.\nconst x = new ArrayBuffer(1); log('Buffer');" }],
};

const nothingLeftOpen: Rule = {
  name: 'nothing is left for later',
  appliesTo: (path) => !isTidy(path),
  findings: ({ text }) => linesMatching(text, /\b(TODO|FIXME|XXX)\b/),
  bad: [
    { path: 'src/a.ts', text: '// TODO: more' },
    { path: 'README.md', text: 'FIXME' },
    { path: 'src/a.ts', text: 'x(); // XXX' },
  ],
  good: [{ path: 'src/a.ts', text: "mkdtemp('a-XXXXXX');" }],
};

const plainWords: Rule = {
  name: 'driver and device, front end and back end: no other words for them',
  appliesTo: (path) => !isTidy(path),
  findings: ({ text }) => linesMatching(text, /(?<![a-z])(master|slave)s?(?![a-z])/i),
  bad: [
    { path: 'src/a.ts', text: 'const SET_SLAVE_FD = 1;' },
    { path: 'docs/a.md', text: 'The Master speaks first.' },
  ],
  good: [{ path: 'docs/a.md', text: 'Once mastered, it is easy.' }],
};

const isTesting = (path: string): boolean => isTest(path) || /^(?:test|src\/testing)\/.*\.ts$/.test(path);

/** A number, or a constant that stands for one. */
const FIXED = String.raw`(?:\d[\d_.e]*|[A-Z][A-Z\d_]*\b)`;
const HURRY = new RegExp(
  [
    // Promises: setTimeout(20), sleep(IDLE_MS). Callbacks: setTimeout(f, 20), setTimeout(f, LIMIT_MS, argument).
    String.raw`\b(?:setTimeout|sleep|pause)\(${FIXED}[,)]`,
    String.raw`\bsetTimeout\(.*, ${FIXED}(?:, ['\w]+)?\)`,
    String.raw`\bAtomics\.wait\((?:[^,]*,){3} ${FIXED}\)`,
    String.raw`\b(?:timeout|timeoutMs): ${FIXED}`,
  ].join('|'),
);

const unhurriedTests: Rule = {
  name: 'a test waits for events, and its limits stretch by patience(); where time itself is meant, a line "// Time: why" says so',
  appliesTo: (path) => isTesting(path) && !isTidy(path),
  findings({ text }) {
    const lines = text.split('\n');
    return lines.flatMap((line, i) => {
      const isMeant = /\/\/ Time: \S/.test(lines[i - 1] ?? '');
      return HURRY.test(line) && !isMeant ? [`line ${i + 1}: ${line.trim()}`] : [];
    });
  },
  bad: [
    { path: 'src/a.test.ts', text: 'await setTimeout(20);' },
    { path: 'test/a.ts', text: 'await sleep(IDLE_MS);' },
    { path: 'test/a.ts', text: 'await new Promise((resolve) => setTimeout(resolve, 50));' },
    { path: 'test/a.ts', text: "setTimeout(resolve, 1_000, 'late');" },
    { path: 'test/a.ts', text: "setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);" },
    { path: 'test/a.ts', text: 'Atomics.wait(words, 0, 0, 200);' },
    { path: 'src/testing/a.ts', text: "test('it ends', { timeout: 60_000 }, () => {});" },
    { path: 'src/a.test.ts', text: 'spawnSync(program, { timeout: TIMEOUT_MS });' },
    { path: 'src/a.test.ts', text: '// Time: why\n\nawait setTimeout(20);' },
  ],
  good: [
    { path: 'src/a.test.ts', text: "await eventually('an answer', () => answer !== undefined);" },
    { path: 'src/a.test.ts', text: "test('it ends', { timeout: patience(60_000) }, () => {});" },
    { path: 'src/a.test.ts', text: 'setTimeout(() => child.kill(), patience(LIMIT_MS));' },
    { path: 'src/a.test.ts', text: 'await new Promise((resolve) => setTimeout(resolve, delayMs));' },
    { path: 'src/a.test.ts', text: '  // Time: what is tested is a time.\n  await setTimeout(20);' },
    { path: 'src/a.test.ts', text: 'Atomics.wait(words, 0, 0);' },
  ],
};

export const houseRules: readonly Rule[] = [
  plainNames,
  firstLineSpeaks,
  shortFiles,
  narrowLines,
  noBufferBelow,
  nothingLeftOpen,
  plainWords,
  unhurriedTests,
];
