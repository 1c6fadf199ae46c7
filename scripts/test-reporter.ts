// A node:test reporter: one JSON line for each test that started or ended, for run-test-file.ts to read.
import type { EventData } from 'node:test';
import type { TestEvent } from 'node:test/reporters';

/** A record of one test, defined at `line`. A test that only `held` subtests is not counted. */
export interface TestRecord {
  readonly outcome: 'started' | 'held' | 'passed' | 'failed' | 'skipped';
  readonly name: string;
  readonly line: number;
  /** Why it was skipped, or the stack of what it threw. */
  readonly detail: string;
}

type Ended = EventData.TestPass | EventData.TestFail;

function reasonOf(mark: string | boolean): string {
  return typeof mark === 'string' ? mark : 'no reason given';
}

function stackOf(error: EventData.Error): string {
  const thrown = error.cause ?? error;
  const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  return stack.replaceAll(/^ +at .*node:internal.*\n?/gm, '').trimEnd();
}

function recordOf(data: Ended, error: EventData.Error | undefined, isHolder: boolean): TestRecord {
  const { name, line = 0, skip, todo } = data;
  const mark = skip ?? todo;
  if (mark !== undefined) return { outcome: 'skipped', name, line, detail: reasonOf(mark) };
  if (error === undefined) return { outcome: isHolder ? 'held' : 'passed', name, line, detail: '' };
  const isOwn = !('failureType' in error && error.failureType === 'subtestsFailed');
  return { outcome: isOwn ? 'failed' : 'held', name, line, detail: stackOf(error) };
}

async function* recordsOf(source: AsyncIterable<TestEvent>): AsyncGenerator<TestRecord> {
  let nestingBefore = 0;
  for await (const event of source) {
    if (event.type === 'test:dequeue') {
      yield { outcome: 'started', name: event.data.name, line: 0, detail: '' };
    } else if (event.type === 'test:pass' || event.type === 'test:fail') {
      // A test that holds others is reported right after the last of them.
      const { nesting, details } = event.data;
      const isHolder = nesting < nestingBefore || details.type === 'suite';
      nestingBefore = nesting;
      yield recordOf(event.data, event.type === 'test:fail' ? event.data.details.error : undefined, isHolder);
    } else if (event.type === 'test:diagnostic' && event.data.message.startsWith('Error: Test "')) {
      // An error that was thrown after its test had ended is reported as a diagnostic.
      yield { outcome: 'failed', name: 'after a test had ended', line: 0, detail: event.data.message };
    }
  }
}

// biome-ignore lint/style/noDefaultExport: node:test takes a reporter as a default export.
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const record of recordsOf(source)) yield `${JSON.stringify(record)}\n`;
}
