/** A simulated disk: what was written outlives the process, and only what was synced outlives the machine. */

export class Disk {
  #seen = new Map<string, string>();
  #durable = new Map<string, string>();

  read(path: string): string | undefined {
    return this.#seen.get(path);
  }

  write(path: string, text: string, { sync }: { sync: boolean }): void {
    this.#seen.set(path, text);
    if (sync) this.#durable.set(path, text);
  }

  remove(path: string): void {
    this.#seen.delete(path);
    this.#durable.delete(path);
  }

  /** The machine lost its power: what was not synced is as it was before. */
  powerCut(): void {
    this.#seen = new Map(this.#durable);
  }
}
