// Decompress the parts of @sparticuz/chromium: `node unpack.mjs FOLDER`. Python's standard library has no Brotli.
import { createReadStream, createWriteStream, readdirSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const source = new URL("node_modules/@sparticuz/chromium/bin/", import.meta.url);
for (const name of readdirSync(source)) {
  const target = `${process.argv[2]}/${name.replace(/\.br$/, "")}`;
  await pipeline(createReadStream(new URL(name, source)), createBrotliDecompress(), createWriteStream(target));
}
