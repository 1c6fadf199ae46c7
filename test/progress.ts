// test: how a test that takes minutes reports its progress: lines that `npm test` shows, and counts as progress.

/** Such a line: news, which is worth a line of its own anywhere, or what is being done, which only a terminal shows. */
export const PROGRESS = /^BELFRY (news|doing) (.*)$/;

/** Says what is being done from now on, or how far it is, in a few words. */
export function tellProgress(doing: string, isNews = false): void {
  console.log(`BELFRY ${isNews ? 'news' : 'doing'} ${doing.split('\n')[0]}`);
}
