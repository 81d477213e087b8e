/**
 * Compares what a command printed with what a page shows. What differs from run to run (ids, digests, times,
 * numbers of users and processes) is compared by its kind. Further, `…` on a page stands for any text within a
 * line, and a line of nothing else for any number of lines.
 */

const KINDS: readonly (readonly [RegExp, string])[] = [
  [/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\b)/g, '<time>'],
  [/\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT/g, '<time>'],
  [/\b[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\b/g, '<uuid>'],
  [/\b[\da-f]{12,}\b/g, '<hex>'],
  [/\bi-bp1[a-z\d]{16,}/g, '<instance>'],
  [/\bSTS\.[A-Za-z\d]+/g, '<access key>'],
  [/\b[A-Za-z\d_-]{86}\b/g, '<token>'],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]+/g, '<jwt>'],
  [/\b(uid|gid|pid|user)( |":)\d+/g, '$1$2<number>'],
  [/\b\d+ (?:ms|s|min|minutes|seconds)\b/g, '<duration>'],
]

/** A text with what varies named by its kind. */
function withoutVariance(text: string): string {
  const lines = text.split('\n').map((line) => line.trimEnd())
  return KINDS.reduce((left, [kind, name]) => left.replace(kind, name), lines.join('\n')).trim()
}

/** Whether a command's output is what the page shows of it. */
export function isAsShown(shown: string, printed: string): boolean {
  return pattern(withoutVariance(shown)).test(`${withoutVariance(printed)}\n`)
}

function pattern(shown: string): RegExp {
  const lines = shown.split('\n').map((line) => {
    if (line === '…') return '(?:.*\\n)*?'
    return `${line.split('…').map(literal).join('.*')}\\n`
  })
  return new RegExp(`^${lines.join('')}$`)
}

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
