// Upper floor: words as a shell takes them, for lines that people paste.
import { quoted } from '../../guests/shell-script.ts';

const PLAIN = /^[\w./@:+,=%-]+$/;

/** `text` as one word: as it is, or quoted where a shell would misread it. */
export function shellWord(text: string): string {
  return PLAIN.test(text) ? text : quoted(text);
}
