import { MetabindError, nodeErrorCode } from '../errors.ts'
import type { Listener } from './listen-tcp.ts'

const RETRY_MS = 2000

/**
 * Listens now or, if somebody else has the port, when they have left it. A port above 1023 is any
 * user's to take: that must not keep the agent itself from running.
 *
 * @param listen called again for each try
 * @param onTaken told once that the port is taken
 * @throws what `listen` throws at its first call, but for a port that is taken
 */
export async function listenOrLater(
  listen: () => Promise<Listener>,
  onTaken: (error: MetabindError) => void,
): Promise<Listener> {
  const first = await listenUnlessTaken(listen)
  if (!(first instanceof MetabindError)) return first
  onTaken(first)
  let listener: Listener | undefined
  const trying = setInterval(() => void again(), RETRY_MS)
  const again = async (): Promise<void> => {
    const next = await listenUnlessTaken(listen).catch(() => first)
    if (next instanceof MetabindError) return
    clearInterval(trying)
    listener = next
  }
  return {
    close: async () => {
      clearInterval(trying)
      await listener?.close()
    },
  }
}

async function listenUnlessTaken(
  listen: () => Promise<Listener>,
): Promise<Listener | MetabindError> {
  try {
    return await listen()
  } catch (error) {
    if (error instanceof MetabindError && isTaken(error.cause)) return error
    throw error
  }
}

function isTaken(cause: unknown): boolean {
  return nodeErrorCode(cause) === 'EADDRINUSE'
}
