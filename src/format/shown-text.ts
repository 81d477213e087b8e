const CHARACTERS_MAX = 160

/** Text of hostile origin for a person to read: in quotes, printable ASCII only, cut off behind 160 characters. */
export function shownText(text: string): string {
  const isLong = text.length > CHARACTERS_MAX
  const printable = text.slice(0, CHARACTERS_MAX).replaceAll(/[^\x20-\x7e]/g, '?')
  return `"${printable}"${isLong ? ' …' : ''}`
}
