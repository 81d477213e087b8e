/** The value of a JSON text, as UTF-8 if it is bytes; undefined for what is none. For texts of bounded length. */
export function parseJson(text: string | Buffer): unknown {
  try {
    return JSON.parse(text.toString())
  } catch {
    return undefined
  }
}
