import { z } from 'zod'
import type { MetadataSnapshot, SnapshotItem } from './snapshot.ts'

/** Where a snapshot is put beyond this process: sealed, in the runtime directory. */
export interface SealedCacheFile {
  /** Takes the place of what was there, whole or not at all. */
  write(bytes: Buffer): void
}

/** Writes what the cache holds, some time after it changed. */
export interface SealedCache {
  /** Something changed. */
  changed(): void
  /** Writes now what is not yet written, and ends. */
  end(): void
}

/** A process that is killed loses the values of this long. */
export const WRITE_AFTER_MS = 2000
// Beyond this the writing would be felt on the event loop; metadata is a few kilobytes.
export const SNAPSHOT_BYTES_MAX = 1_048_576

const boot = z.number().nonnegative()
const schema = z.strictObject({
  version: z.literal(2),
  instanceId: z.string(),
  items: z.array(z.tuple([z.string(), z.string(), z.base64(), boot])),
  firstSeen: z.array(z.tuple([z.string(), boot])),
})

/**
 * @param instanceId the instance that the values are of
 * @param snapshot what there is now, the most missed first
 */
export function startSealedCache(
  instanceId: string,
  snapshot: () => MetadataSnapshot,
  file: SealedCacheFile,
): SealedCache {
  let timer: NodeJS.Timeout | undefined
  let ended = false
  const write = (): void => {
    timer = undefined
    file.write(encodeSealedCache(instanceId, snapshot()))
  }
  return {
    changed: () => {
      if (ended) return
      timer ??= setTimeout(write, WRITE_AFTER_MS).unref()
    },
    end: () => {
      ended = true
      if (timer === undefined) return
      clearTimeout(timer)
      write()
    },
  }
}

/** The items as JSON, from the first on as many as there is room for. */
export function encodeSealedCache(
  instanceId: string,
  { items, firstSeen }: MetadataSnapshot,
): Buffer {
  let room = SNAPSHOT_BYTES_MAX
  const fitting = items.filter(({ path, item }) => {
    const bytes = path.length + item.contentType.length + item.body.length
    if (bytes > room) return false
    room -= bytes
    return true
  })
  const rows = fitting.map(({ path, item, fetchedAtMs }) => [
    path,
    item.contentType,
    item.body.toString('base64'),
    fetchedAtMs,
  ])
  return Buffer.from(JSON.stringify({ version: 2, instanceId, items: rows, firstSeen }))
}

/** @returns what was there; nothing if the bytes are another instance's or another version's */
export function decodeSealedCache(instanceId: string, bytes: Buffer): MetadataSnapshot {
  const parsed = schema.safeParse(JSON.parse(bytes.toString('utf8')))
  if (!parsed.success || parsed.data.instanceId !== instanceId) return { items: [], firstSeen: [] }
  const { items, firstSeen } = parsed.data
  return { items: items.map(itemOf), firstSeen }
}

type Row = z.infer<typeof schema>['items'][number]

function itemOf([path, contentType, body, fetchedAtMs]: Row): SnapshotItem {
  return { path, item: { body: Buffer.from(body, 'base64'), contentType }, fetchedAtMs }
}
