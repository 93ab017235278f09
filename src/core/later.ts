/**
 * Schemas that are built when they are first used: zod makes some 500 objects of those of the daemon, which took half of
 * its start, and most of them are used hours later or never.
 */

const makers = new WeakMap<object, () => object>();

/** What a value of `later` stands for, any other as it is: for who keeps books by identity, as zod does when it prints a JSON Schema. */
export function real<T extends object>(value: T): T {
  // Safe: the maker of a value of `later` makes what the value's type says.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return (makers.get(value)?.() as T | undefined) ?? value;
}

/** Stands for what `make` returns, which is called at the first look at one of its properties, and once. */
export function later<T extends object>(make: () => T): T {
  let made: T | undefined;
  const get = (): T => (made ??= make());
  // Safe: every look at it is passed on to what it stands for.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const standIn = new Proxy({} as T, {
    get(_, key) {
      const target = get();
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
    set: (_, key, value) => Reflect.set(get(), key, value),
    has: (_, key) => Reflect.has(get(), key),
    ownKeys: () => Reflect.ownKeys(get()),
    getPrototypeOf: () => Reflect.getPrototypeOf(get()),
    getOwnPropertyDescriptor: (_, key) => {
      const found = Reflect.getOwnPropertyDescriptor(get(), key);
      // A proxy may not claim that its own, empty target has a lasting property.
      return found === undefined ? undefined : { ...found, configurable: true };
    },
  });
  makers.set(standIn, get);
  return standIn;
}
