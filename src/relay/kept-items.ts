import { z } from 'zod'
import type { KeptItem } from './metadata.ts'

/** Where kept values are put beyond this process: sealed, in the runtime directory. */
export interface KeptBytes {
  /** Takes the place of what was there, whole or not at all. */
  write(bytes: Buffer): void
}

/** Writes what the cache holds, some time after it changed. */
export interface ItemKeeper {
  /** Something changed. */
  changed(): void
  /** Writes now what is not yet written, and ends. */
  end(): void
}

/** A process that is killed loses the values of this long. */
export const KEEP_AFTER_MS = 2000
// Beyond this the writing would be felt on the event loop; metadata is a few kilobytes.
export const KEPT_BYTES_MAX = 1_048_576

const boot = z.number().nonnegative()
const schema = z.strictObject({
  version: z.literal(1),
  instanceId: z.string(),
  items: z.array(z.tuple([z.string(), z.string(), z.base64(), boot, boot])),
})

/**
 * @param instanceId the instance that the values are of
 * @param items what there is to keep now, the most missed first
 */
export function keepItems(
  instanceId: string,
  items: () => readonly KeptItem[],
  file: KeptBytes,
): ItemKeeper {
  let timer: NodeJS.Timeout | undefined
  let ended = false
  const write = (): void => {
    timer = undefined
    file.write(encodeItems(instanceId, items()))
  }
  return {
    changed: () => {
      if (ended) return
      timer ??= setTimeout(write, KEEP_AFTER_MS).unref()
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
export function encodeItems(instanceId: string, items: readonly KeptItem[]): Buffer {
  let room = KEPT_BYTES_MAX
  const fitting = items.filter(({ path, item }) => {
    const bytes = path.length + item.contentType.length + item.body.length
    if (bytes > room) return false
    room -= bytes
    return true
  })
  const rows = fitting.map(({ path, item, fetchedAtMs, seenAtMs }) => [
    path,
    item.contentType,
    item.body.toString('base64'),
    fetchedAtMs,
    seenAtMs,
  ])
  return Buffer.from(JSON.stringify({ version: 1, instanceId, items: rows }))
}

/** @returns the items; none where the bytes are another instance's or another version's */
export function decodeItems(instanceId: string, bytes: Buffer): KeptItem[] {
  const parsed = schema.safeParse(JSON.parse(bytes.toString('utf8')))
  if (!parsed.success || parsed.data.instanceId !== instanceId) return []
  return parsed.data.items.map(([path, contentType, body, fetchedAtMs, seenAtMs]) => ({
    path,
    item: { body: Buffer.from(body, 'base64'), contentType },
    fetchedAtMs,
    seenAtMs,
  }))
}
