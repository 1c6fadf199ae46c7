// cli: quotes words for a shell, in lines that users paste.
import { quoted } from '../../guests/shell-script.ts';

const PLAIN = /^[\w./@:+,=%-]+$/;

/** Returns `text` as one word of a shell, quoted where it has to be. */
export function shellWord(text: string): string {
  return PLAIN.test(text) ? text : quoted(text);
}
