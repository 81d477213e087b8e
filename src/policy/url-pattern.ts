import { type PathPattern, type Pattern, PatternProblem, pathPattern } from './pattern.ts'
import type { ProofUrl } from './proof-url.ts'

/** A pattern of URLs that proofs are for: `https://*.example.com/orders/**`. */
export interface UrlPattern {
  /** As it was written. */
  readonly text: string
  matches(url: ProofUrl): boolean
}

const FORM = /^(https?):\/\/([^/]*)(\/.*)$/
const HOST = /^(?:\*|[a-z0-9]([a-z0-9-]*[a-z0-9])?)(?:\.(?:\*|[a-z0-9]([a-z0-9-]*[a-z0-9])?))*$/
const ADDRESS = /^\[[0-9a-f:.]+\]$/

/**
 * A pattern of URLs. The scheme is as it is written; of the host, `*` is one whole label; the path is a pattern as paths of
 * metadata have it.
 *
 * @throws PatternProblem for what no URL can match, so that no rule is dead by a slip
 */
export function urlPattern(text: string): UrlPattern {
  const [, scheme = '', authority = '', written = ''] = FORM.exec(text) ?? []
  if (scheme === '') {
    throw new PatternProblem('must be https:// (or http://), a host and a path, such as /**')
  }
  const authorityMatches = authorityPattern(scheme, authority)
  const path: PathPattern = pathPattern(written)
  return {
    text,
    matches: (url) =>
      url.scheme === scheme && authorityMatches(url.authority) && path.matches(url.path),
  }
}

function authorityPattern(scheme: string, authority: string): Pattern['matches'] {
  const port = /:(\d+)$/.exec(authority)?.[1]
  const host = port === undefined ? authority : authority.slice(0, -port.length - 1)
  if (port === (scheme === 'https' ? '443' : '80')) {
    throw new PatternProblem('must leave out the port that the scheme has anyway')
  }
  if (ADDRESS.test(host)) return (asked) => asked === authority
  if (!HOST.test(host)) {
    throw new PatternProblem("must have a host in small letters; '*' is one whole label of it")
  }
  const labels = host.split('.')
  return (asked) => {
    const [askedHost = '', askedPort] = asked.split(':')
    const others = askedHost.split('.')
    return (
      askedPort === port &&
      others.length === labels.length &&
      labels.every((label, at) => label === '*' || label === others[at])
    )
  }
}
