// The addresses of the engines, from REDIS_URL (unix:///path) and DATABASE_URL (…?host=/folder&port=5432).
import { Redis } from "ioredis";
import pg from "pg";

export const QUEUE = "ingest";

export function redis(options) {
  return new Redis(decodeURIComponent(process.env.REDIS_URL.replace(/^unix:\/\//, "")), options);
}

export function postgres(max) {
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max });
  // Without a listener, an idle connection that breaks ends the process.
  pool.on("error", (error) => console.error(error));
  return pool;
}
