const [QUOTE, BACKSLASH] = [0x22, 0x5c]
const OPENS = new Set([0x5b, 0x7b])
const CLOSES = new Set([0x5d, 0x7d])

/**
 * Whether JSON has more than `max` objects and arrays within one another. To be asked before parsing
 * what others wrote: a parser's time and memory grow with the depth, and it cannot be stopped. Text that
 * is no JSON gets some answer, and is refused by the parser.
 */
export function nestsDeeperThan(max: number, json: Uint8Array): boolean {
  let depth = 0
  let isText = false
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at] ?? 0
    if (isText) {
      if (byte === BACKSLASH) at += 1
      else if (byte === QUOTE) isText = false
    } else if (byte === QUOTE) isText = true
    else if (OPENS.has(byte)) depth += 1
    else if (CLOSES.has(byte)) depth -= 1
    if (depth > max) return true
  }
  return false
}
