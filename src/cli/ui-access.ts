import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

/** What whoever opened the link has: both are needed for each request. */
export interface PageKeys {
  /** In a cookie, which scripts cannot read. */
  readonly cookie: string
  /** In a header. A cookie knows no port: other servers on 127.0.0.1 are sent it, and this they are not. */
  readonly key: string
  /** In a header of answers: see UI_SERVER_HEADER. */
  readonly server: string
}

/** `twice`: by another than the first, so one of the two has stolen it. */
type LinkRefusal = 'wrong' | 'expired' | 'used' | 'twice'

/** Who may read the page: whoever has opened the link, which works once. */
export interface PageAccess {
  /** 256 random bits, base64url. */
  readonly linkToken: string
  /** @param cookie of the request, if it has one: who opens the link again is not another */
  redeem(token: string, cookie: string | undefined): PageKeys | LinkRefusal
  /** What the server shows itself by; undefined until the link was opened. */
  serverSecret(): string | undefined
  admits(cookie: string | undefined, key: string | undefined): boolean
  /** Whether nobody has opened the link in time. */
  hasExpired(): boolean
}

const RANDOM_BYTES = 32

/** @param clockMs a clock that never jumps */
export function pageAccess(linkSeconds: number, clockMs: () => number): PageAccess {
  const linkToken = randomText()
  const endsAtMs = clockMs() + linkSeconds * 1000
  let keys: PageKeys | undefined
  let isOver = false
  const hasCookie = (cookie: string | undefined) => isSame(keys?.cookie, cookie)
  return {
    linkToken,
    redeem: (token, cookie) => {
      if (!isSame(linkToken, token)) return 'wrong'
      if (isOver) return 'twice'
      if (keys !== undefined) {
        if (hasCookie(cookie)) return 'used'
        isOver = true
        return 'twice'
      }
      if (clockMs() >= endsAtMs) return 'expired'
      keys = { cookie: randomText(), key: randomText(), server: randomText() }
      return keys
    },
    serverSecret: () => keys?.server,
    admits: (cookie, key) => !isOver && hasCookie(cookie) && isSame(keys?.key, key),
    hasExpired: () => keys === undefined && clockMs() >= endsAtMs,
  }
}

function randomText(): string {
  return randomBytes(RANDOM_BYTES).toString('base64url')
}

/** In a time that does not depend on where they differ. */
function isSame(expected: string | undefined, given: string | undefined): boolean {
  if (expected === undefined || given === undefined) return false
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(expected), digest(given))
}
