// Ground floor: what a driver can make us say: each line once, and only so many. It must not be able to fill a log.

const LINES_MAX = 50;

/** Passes lines on to `log`, as long as they are new and few. */
export function sayOnce(log: (line: string) => void): (line: string) => void {
  const said = new Set<string>();
  return (line) => {
    if (said.has(line) || said.size >= LINES_MAX) return;
    said.add(line);
    log(said.size < LINES_MAX ? line : `${line} (this driver makes many mistakes; no more are told)`);
  };
}
