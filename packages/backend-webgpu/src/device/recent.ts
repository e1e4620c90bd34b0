/** A map that keeps a bounded number of entries: those that were not asked for longest go first. */
export class Recent<K, V> {
  private readonly entries = new Map<K, { readonly value: V; used: number }>();
  private readonly most: number;
  private clock = 0;

  /** @param most entries that are kept */
  constructor(most: number) {
    this.most = most;
  }

  get size(): number {
    return this.entries.size;
  }

  get(key: K): V | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    entry.used = ++this.clock;
    return entry.value;
  }

  set(key: K, value: V): void {
    if (this.entries.size >= this.most) this.shrink();
    this.entries.set(key, { value, used: ++this.clock });
  }

  /** Forgets a quarter at once, so that looking for the oldest costs next to nothing for each entry. */
  private shrink(): void {
    const byAge = [...this.entries].sort(([, a], [, b]) => a.used - b.used);
    for (const [key] of byAge.slice(0, Math.ceil(this.most / 4))) this.entries.delete(key);
  }
}
