import { UI_SERVER_HEADER } from '../ui-paths.ts'

/** What came of reading a stream of events. */
export type StreamEnd = 'refused' | 'lost'

const LINE_CHARACTERS_MAX = 1_048_576

/**
 * Reads a stream of server-sent events to its end. Not by EventSource, which sends no header: the key of the page
 * goes in one.
 *
 * @param server what the server of the page shows itself by: another one is not believed
 * @param onData told the data of each event
 */
export async function readStream(
  path: string,
  headers: Readonly<Record<string, string>>,
  server: string,
  onData: (data: string) => void,
): Promise<StreamEnd> {
  try {
    const response = await fetch(path, { headers, cache: 'no-store' })
    if (response.status === 403) return 'refused'
    if (response.ok && (server === '' || response.headers.get(UI_SERVER_HEADER) !== server)) {
      await response.body?.cancel()
      return 'refused'
    }
    if (!response.ok || response.body === null) return 'lost'
    let rest = ''
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      const events = `${rest}${chunk}`.split('\n\n')
      rest = events.pop() ?? ''
      for (const event of events) if (event.startsWith('data: ')) onData(event.slice(6))
      if (rest.length > LINE_CHARACTERS_MAX) return 'lost'
    }
  } catch {
    // The connection broke, which is what a restart of the agent looks like too.
  }
  return 'lost'
}
