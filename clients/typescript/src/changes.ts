/** Waiting for a change or a moment. */

/** Return the time of a clock that never goes back, in seconds. */
export function now(): number {
  return performance.now() / 1000;
}

/** Let the event loop handle what has come. Browsers have no setImmediate. */
export function turn(): Promise<void> {
  return new Promise((resolve) => void (globalThis.setImmediate ?? setTimeout)(resolve));
}

/** Wakes all that waits as soon as something has changed. */
export class Changes {
  readonly #waiting = new Set<() => void>();

  notify(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Wait for a change, or so many seconds. `background`: Node may end meanwhile. */
  wait(seconds = Infinity, background = false): Promise<void> {
    return new Promise((resolve) => {
      const timer = seconds === Infinity ? undefined : setTimeout(() => wake(), Math.max(0, seconds) * 1000);
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      // In browsers, a timer is a number.
      if (background && typeof timer === "object") timer.unref();
      this.#waiting.add(wake);
    });
  }
}
