// Line ends and what terminals obey; with Cf, also what turns the direction of a line around.
export const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Control characters as text, line ends too: what others have chosen makes no lines of its own, and speaks to no terminal. */
export function oneLine(text: string): string {
  return text.replaceAll(CONTROL, shownCharacter)
}

export function shownCharacter(character: string): string {
  return `\\u{${character.codePointAt(0)?.toString(16)}}`
}
