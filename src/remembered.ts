/**
 * The same once for each thing, for as long as that is kept: a subject, a certificate or a key is asked for by several
 * checks, and by one evidence after the other. What is refused is not remembered.
 */
export function remembered<Thing extends object, T>(
  make: (thing: Thing) => T,
): (thing: Thing) => T {
  const known = new WeakMap<Thing, { readonly value: T }>()
  return (thing) => {
    const found = known.get(thing) ?? { value: make(thing) }
    known.set(thing, found)
    return found.value
  }
}
