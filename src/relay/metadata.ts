import type { Item, Source } from './source.ts'

/** Where answers come from: the source now. Concurrent reads of one path share one upstream read. */
export interface Metadata {
  read(path: string, query: string | undefined): Promise<Item>
}

/** @param source the cloud's metadata service */
export function metadataFrom(source: Source): Metadata {
  const underWay = new Map<string, Promise<Item>>()
  return {
    read: (path, query) => {
      const target = query === undefined ? path : `${path}?${query}`
      const already = underWay.get(target)
      if (already !== undefined) return already
      const reading = source.read(path, query).finally(() => underWay.delete(target))
      underWay.set(target, reading)
      return reading
    },
  }
}
