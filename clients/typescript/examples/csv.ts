/** A reader of CSV (RFC 4180) in flat memory: quotes, doubled quotes, line breaks within quotes, CR LF, a BOM. */

/** Yield the cells of each line of a text that arrives in pieces. */
export async function* parseCsv(pieces: AsyncIterable<string>): AsyncGenerator<string[]> {
  let rest = "";
  let isFirst = true;
  for await (const piece of pieces) {
    const { lines, rest: left } = split(rest + (isFirst ? piece.replace(/^\ufeff/, "") : piece));
    isFirst = false;
    rest = left;
    yield* lines;
  }
  if (rest) yield* split(`${rest}\n`).lines;
}

/** Return the whole lines of a text, and what follows the last one. */
function split(text: string): { lines: string[][]; rest: string } {
  const lines: string[][] = [];
  const cell = /"((?:[^"]|"")*)"(,|\r?\n)|([^",\r\n]*)(,|\r?\n)/y;
  let line: string[] = [];
  let start = 0;
  for (let match = cell.exec(text); match; match = cell.exec(text)) {
    line.push(match[1]?.replaceAll('""', '"') ?? match[3] ?? "");
    if ((match[2] ?? match[4]) === ",") continue;
    lines.push(line);
    line = [];
    start = cell.lastIndex;
  }
  return { lines, rest: text.slice(start) };
}
