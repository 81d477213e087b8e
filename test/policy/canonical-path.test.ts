import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import { canonicalTarget, TARGET_BYTES_MAX } from '../../src/policy/canonical-path.ts'

/** The canonical target, or undefined if it is refused, which is with one code only. */
function canonical(target: string) {
  try {
    return canonicalTarget(target)
  } catch (error) {
    expect(error).toBeInstanceOf(MetabindError)
    expect(error).toMatchObject({ code: 'REQUEST_PATH' })
    return undefined
  }
}

const spelled = ({ path, query }: ReturnType<typeof canonicalTarget>) =>
  query === undefined ? path : `${path}?${query}`

// Targets out of the pieces that matter, so that a good part of them is accepted.
const pieces = [
  ...['/', '//', '.', '..', '%2e', '%2E', '%2f', '%5c', '%00', '%25', '%252e', '%41', '%2d', '%7E'],
  ...['latest', 'meta-data', 'a', 'Z', '0', '-', '_', '~', '!', '$', '&', "'", '(', ')', '*', '+'],
  ...[',', '=', ':', '@', ';', '?', '#', '\\', ' ', '%', '%2', '%zz', '\0', '\n', '\x1b', '\u00e9'],
]
const plain = ['/', 'latest', 'meta-data', '%41', '%2D', '//', 'a.b', '...', '?', 'audience=x', '@']
const pieced = (from: readonly string[]) =>
  fc.array(fc.constantFrom(...from), { maxLength: 12 }).map((parts) => `/${parts.join('')}`)
const targets = fc.oneof(pieced(pieces), pieced(plain), pieced(plain), fc.string())

const SEGMENT = "[A-Za-z0-9._~!$&'()*+,=:@-]+"
const CANONICAL = new RegExp(`^/(${SEGMENT}(/${SEGMENT})*)?$`)

describe('for any target', () => {
  test('the canonical form is its own canonical form', () => {
    let accepted = 0
    fc.assert(
      fc.property(targets, (target) => {
        const first = canonical(target)
        if (first === undefined) return
        accepted += 1
        expect(canonicalTarget(spelled(first))).toEqual(first)
      }),
      { numRuns: 3000 },
    )
    expect(accepted).toBeGreaterThan(500)
  })

  test('it has no dot segment, escape, empty segment or trailing slash', () => {
    fc.assert(
      fc.property(targets, (target) => {
        const path = canonical(target)?.path ?? '/'
        expect(path).toMatch(CANONICAL)
        expect(path.split('/')).not.toContain('.')
        expect(path.split('/')).not.toContain('..')
      }),
      { numRuns: 3000 },
    )
  })

  test('a URL parser and a second decoding read in it what we read', () => {
    fc.assert(
      fc.property(targets, (target) => {
        const path = canonical(target)?.path
        if (path === undefined) return
        expect(new URL(path, 'http://source').pathname).toBe(path)
        expect(decodeURIComponent(path)).toBe(path)
      }),
      { numRuns: 3000 },
    )
  })

  test('one that is refused stays refused with escapes hidden in escapes', () => {
    fc.assert(
      fc.property(targets, (target) => {
        const hidden = target.replaceAll('%', '%25')
        if (hidden !== target && !target.includes('?')) expect(canonical(hidden)).toBeUndefined()
      }),
    )
  })
})

describe('accepted', () => {
  test.each([
    ['/', '/', undefined],
    ['//', '/', undefined],
    ['/?', '/', undefined],
    ['/latest/meta-data/', '/latest/meta-data', undefined],
    ['//latest///meta-data', '/latest/meta-data', undefined],
    ['/latest/%6deta%2ddata', '/latest/meta-data', undefined],
    ['/a?audience=x%20y', '/a', 'audience=x%20y'],
    ['/a?b?c', '/a', 'b?c'],
    ['/...', '/...', undefined],
    ['/.a/a.', '/.a/a.', undefined],
    ['/00:16:3e:0f:00:01/', '/00:16:3e:0f:00:01', undefined],
    [`/${'a'.repeat(TARGET_BYTES_MAX - 1)}`, `/${'a'.repeat(TARGET_BYTES_MAX - 1)}`, undefined],
  ])('%s', (target, path, query) => {
    expect(canonicalTarget(target)).toEqual({ path, query })
  })
})

describe('refused', () => {
  test.each([
    ...['', 'a', '*', 'http://host/a', '?', '/.', '/..', '/a/../b', '/a/./b', '/%2e', '/%2E%2e/a'],
    ...[
      '/.%2e',
      '/a%2eb',
      '/a%2fb',
      '/a%2Fb',
      '/a%5cb',
      '/a\\b',
      '/a%00',
      '/a\0',
      '/%252e',
      '/%25',
    ],
    ...[
      '/%',
      '/%2',
      '/%zz',
      '/a;b',
      '/a%3bb',
      '/a#b',
      '/a%23b',
      '/a%3fb',
      '/a b',
      '/a%20b',
      '/a\tb',
    ],
    ...['/\u00e9', '/%c3%a9', '/\u2025', '/\uff0e\uff0e', '/a?b c', '/a?b#c', '/a?b;c', '/a?\0'],
    `/${'a'.repeat(TARGET_BYTES_MAX)}`,
  ])('%j', (target) => {
    expect(() => canonicalTarget(target)).toThrow(
      expect.objectContaining({ name: 'MetabindError', code: 'REQUEST_PATH' }),
    )
  })
})

describe('what is canonical already is found out once', () => {
  const isRemembered = (target: string) => {
    const found = canonicalTarget(target)
    return canonicalTarget(target) === found
  }

  test('if it is not long, and is nothing that has to be changed', () => {
    expect(isRemembered(`/${'a'.repeat(127)}`)).toBe(true)
    expect(isRemembered(`/${'a'.repeat(128)}`)).toBe(false)
    expect(isRemembered('/latest//meta-data/')).toBe(false)
  })

  test('and of so many at a time', async () => {
    // Nothing is remembered there yet.
    vi.resetModules()
    const { canonicalTarget: find } = await import('../../src/policy/canonical-path.ts')
    const targets = Array.from({ length: 256 }, (_, at) => `/of-many/${at}`)
    const first = targets.map(find)
    expect(targets.every((target, at) => find(target) === first[at])).toBe(true)
    find('/one-more')
    const again = targets.map(find)
    expect(again).toEqual(first)
    expect(again.every((one, at) => one !== first[at])).toBe(true)
  })
})
