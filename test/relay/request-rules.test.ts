import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { aliyun } from '../../src/dialect/aliyun.ts'
import { MetabindError } from '../../src/errors.ts'
import {
  asksForFresh,
  isOfBrowser,
  judgeHeaders,
  judgeQuery,
  parseTtlSeconds,
  readHeaders,
} from '../../src/relay/request-rules.ts'

const TTL = aliyun.ttlHeader
const TOKEN = aliyun.tokenHeader
const [PKCS7 = ''] = aliyun.audiencePaths

const codeOf = (act: () => unknown): string | undefined => {
  try {
    act()
    return undefined
  } catch (error) {
    if (error instanceof MetabindError) return error.code
    throw error
  }
}
const judged = (headers: readonly (readonly [string, string])[]) => {
  const read = readHeaders(headers.flat(), aliyun)
  judgeHeaders(read)
  const { token, ttl } = read
  return { token, ttl }
}
const refused = (headers: readonly (readonly [string, string])[]) => codeOf(() => judged(headers))

/** A name in any mixture of cases. */
const inAnyCase = (name: string) =>
  fc
    .array(fc.boolean(), { minLength: name.length, maxLength: name.length })
    .map((upper) =>
      [...name].map((c, at) => (upper[at] ? c.toUpperCase() : c.toLowerCase())).join(''),
    )
const oneOf = (names: readonly string[]) => fc.oneof(...names.map(inAnyCase))
const value = fc.oneof(fc.constant(''), fc.string({ maxLength: 20 }))
const harmless = fc.constantFrom(
  ...['Accept', 'User-Agent', 'Cookie', 'Upgrade', 'X-Custom', 'X_Forwarded_For'],
)
const others = fc.array(fc.tuple(harmless, value), { maxLength: 6 })

const FORWARDING = [
  ...['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-forwarded-whatever'],
  ...['x-forwarded', 'forwarded', 'via', 'x-real-ip', 'x-client-ip', 'true-client-ip'],
]
const BROWSER = ['origin', 'referer', 'sec-fetch-site', 'sec-fetch-dest', 'sec-fetch-whatever']

test('of no headers nothing is said', () => {
  expect(readHeaders([], aliyun)).toEqual({
    ...{ hasHost: false, hasUpgrade: false, hasBody: false, token: undefined, ttl: undefined },
    ...{ isForwarded: false, isOfPage: false, repeated: undefined, isNoCache: false },
  })
})

describe('headers', () => {
  test('a forwarding one is refused before all else: any case, value and place', () => {
    const worse = fc.constantFrom('Origin', 'Host', 'Host', TOKEN, TOKEN, TTL, TTL)
    const more = fc.array(fc.tuple(fc.oneof(harmless, worse), value), { maxLength: 8 })
    fc.assert(
      fc.property(more, oneOf(FORWARDING), value, more, (before, name, text, after) => {
        expect(refused([...before, [name, text], ...after])).toBe('REQUEST_FORWARDED')
      }),
    )
  })

  test('one that only a web page sends is refused: any case, value and place', () => {
    fc.assert(
      fc.property(others, oneOf(BROWSER), value, others, (before, name, text, after) => {
        expect(refused([...before, [name, text], ...after])).toBe('REQUEST_BROWSER')
      }),
    )
  })

  test('a second Host, token or lifetime is refused, even the same one', () => {
    const names = ['host', TOKEN, TTL]
    const twice = fc
      .constantFrom(...names)
      .chain((name) => fc.tuple(inAnyCase(name), value, inAnyCase(name), value))
    fc.assert(
      fc.property(others, twice, others, (before, [one, first, other, second], between) => {
        const headers = [...before, [one, first], ...between, [other, second]] as const
        expect(refused(headers)).toBe('REQUEST_HEADERS')
      }),
    )
  })

  test('others mean nothing; token and lifetime are read as they came', () => {
    const optional = (name: string) => fc.option(fc.tuple(inAnyCase(name), value))
    fc.assert(
      fc.property(others, optional(TOKEN), optional(TTL), (more, token, ttl) => {
        const headers: [string, string][] = [...more]
        if (token !== null) headers.unshift(token)
        if (ttl !== null) headers.push(ttl)
        expect(judged(headers)).toEqual({ token: token?.[1], ttl: ttl?.[1] })
      }),
    )
  })

  test.each([
    'X-Forward',
    'X-Real-IPs',
    'Vias',
    'Origins',
    'X-Origin',
    'Sec-Fetch',
    'Sec-Fetch-Mode',
  ])('%s is one that means nothing', (name) => {
    expect(refused([[name, 'x']])).toBeUndefined()
  })
})

test('what a browser sends is told by names of headers in any case, and not by values', () => {
  for (const name of [...BROWSER, 'ORIGIN', 'Sec-Fetch-Site']) {
    expect(isOfBrowser(['Host', 'x', name, ''])).toBe(true)
    expect(isOfBrowser(['Host', name, 'X-Name', name])).toBe(false)
  }
  for (const rawHeaders of [[], ['Host', 'x'], ['Sec-Fetch-Mode', 'cors']]) {
    expect(isOfBrowser(rawHeaders)).toBe(false)
  }
})

describe('a lifetime', () => {
  test('of 1 to the longest is read as its number', () => {
    const asked = fc.integer({ min: 1, max: 21_600 })
    fc.assert(
      fc.property(asked, asked, (seconds, longest) => {
        const act = () => parseTtlSeconds(String(seconds), longest)
        if (seconds <= longest) expect(act()).toBe(seconds)
        else expect(codeOf(act)).toBe('TOKEN_TTL')
      }),
    )
  })

  test('is read of its one spelling only', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 7 }),
      fc.stringMatching(/^[ +\-0-9.,ex]{0,7}$/),
      fc.integer().map(String),
      fc.bigInt().map(String),
      fc.integer({ min: 1, max: 21_600 }).map((seconds) => `0${seconds}`),
    )
    fc.assert(
      fc.property(text, (spelling) => {
        const seconds = Number(spelling)
        const isOne = seconds >= 1 && seconds <= 21_600 && String(Math.trunc(seconds)) === spelling
        const act = () => parseTtlSeconds(spelling, 21_600)
        if (isOne) expect(act()).toBe(seconds)
        else expect(codeOf(act)).toBe('TOKEN_TTL')
      }),
      { numRuns: 2000 },
    )
  })

  test.each([undefined, '', '0', '21601', '060', '+60', '-1', '1.5', '1e3', '0x10', '6 0', '60\n'])(
    '%j is refused',
    (text) => {
      expect(codeOf(() => parseTtlSeconds(text, 21_600))).toBe('TOKEN_TTL')
    },
  )
})

describe('a query', () => {
  const query = fc.oneof(
    fc.string(),
    fc.string().map((text) => `audience=${text}`),
    fc.stringMatching(/^audience=[A-Za-z0-9._~-]{0,4}[&=?%"\\/+ ]?[a-z]{0,3}$/),
  )

  test('is an audience on a path that takes one, or refused', () => {
    fc.assert(
      fc.property(fc.constantFrom(...aliyun.audiencePaths), query, (path, text) => {
        const isOne = /^audience=[\w.~-]{1,256}$/.test(text) && !text.endsWith('\n')
        const expected = isOne ? undefined : 'REQUEST_QUERY'
        expect(codeOf(() => judgeQuery(path, text, aliyun))).toBe(expected)
      }),
      { numRuns: 1000 },
    )
  })

  test('is refused on every other path', () => {
    const paths = fc.constantFrom('/', aliyun.tokenPath, aliyun.instanceIdPath, `${PKCS7}/`, '/x')
    fc.assert(
      fc.property(paths, query, (path, text) => {
        expect(codeOf(() => judgeQuery(path, text, aliyun))).toBe('REQUEST_QUERY')
      }),
    )
  })

  test.each(['xaudience=a', 'x&audience=a', 'audience=a&x', 'audience='])('%s is none', (text) => {
    expect(codeOf(() => judgeQuery(PKCS7, text, aliyun))).toBe('REQUEST_QUERY')
  })

  test('of nothing is fine anywhere', () => {
    for (const path of ['/', PKCS7]) {
      expect(codeOf(() => judgeQuery(path, undefined, aliyun))).toBeUndefined()
    }
  })
})

describe('Cache-Control', () => {
  const ASKS = ['no-cache', 'No-Cache', 'max-age=0, no-cache', 'no-cache,no-store', 'no-cache="x"']
  const DOES_NOT = ['', 'no-cachet', 'xno-cache', 'no-store', 'max-age=0', 'no_cache']

  const asks = (rawHeaders: readonly string[], uid: number) =>
    asksForFresh(readHeaders(rawHeaders, aliyun), uid)

  test('root asks for a fresh answer with no-cache, wherever it stands in the header', () => {
    expect(ASKS.filter((value) => !asks(['Cache-Control', value], 0))).toEqual([])
    expect(DOES_NOT.filter((value) => asks(['cache-control', value], 0))).toEqual([])
  })

  test('in whichever of several headers', () => {
    const several = ['Host', 'a', 'Cache-Control', 'no-store', 'Cache-Control', 'no-cache']
    expect(asks(several, 0)).toBe(true)
    expect(asks(several.slice(0, 4), 0)).toBe(false)
  })

  test('nobody else does', () => {
    expect(ASKS.filter((value) => asks(['cache-control', value], 1000))).toEqual([])
  })
})
