/** The status page: its paths, on the admin socket and on loopback, and the headers of all that it is made of. */

export const UI_PATHS = {
  page: '/ui',
  script: '/ui/page.js',
  style: '/ui/page.css',
  /** A stream of snapshots: text/event-stream. */
  events: '/ui/events',
  /** With the number of a reader behind it. */
  explain: '/ui/explain/',
  /** Only on loopback: the one-time token in, the key of the page out. */
  session: '/ui/session',
  /** Only on loopback; the admin socket has a call for it. */
  acknowledge: '/ui/acknowledge',
} as const

/** Carries the key of the page, which no other origin has. */
export const UI_KEY_HEADER = 'x-metabind-ui-key'

/**
 * Carries what the server shows itself by: the page is told it once and sends it to nobody. Whoever listens on the
 * port when `metabind ui` has ended is sent the cookie and the key, but does not know this.
 */
export const UI_SERVER_HEADER = 'x-metabind-ui-server'

/**
 * Nothing is loaded but the page's own two files, nothing is embedded, no form is sent, and no text becomes markup.
 * The browser keeps none of it.
 */
export const UI_HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
} as const
