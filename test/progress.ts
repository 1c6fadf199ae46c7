// How a test that takes minutes tells whoever waits for it what it does: a line that `npm test` shows.

/** How such a line begins. */
export const PROGRESS = 'BELFRY progress ';

/** Says what the test does now, or how far it is: a few words. It is a sign of life too. */
export function tellProgress(doing: string): void {
  console.log(PROGRESS + doing.replaceAll('\n', ' '));
}
