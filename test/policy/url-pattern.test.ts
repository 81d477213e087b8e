import { describe, expect, test } from 'vitest'
import { readProofUrl } from '../../src/policy/proof-url.ts'
import { urlPattern } from '../../src/policy/url-pattern.ts'

describe('a pattern', () => {
  test.each([
    ['https://api.example/orders/**', ['/orders', '/orders/', '/orders/7', '/orders/7/x?y']],
    ['https://api.example/*/7', ['/orders/7', '/orders/7/']],
    ['https://*.example/**', ['/', '/a']],
    ['https://api.example/', ['', '/']],
  ])('%s matches', (pattern, paths) => {
    for (const path of paths) {
      expect(urlPattern(pattern).matches(readProofUrl(`https://api.example${path}`))).toBe(true)
    }
  })

  test.each([
    ['https://api.example/orders/**', 'https://api.example/order'],
    ['https://api.example/orders/**', 'https://api.example/Orders/7'],
    ['https://api.example/orders/**', 'http://api.example/orders/7'],
    ['https://api.example/orders/**', 'https://api.example:8443/orders/7'],
    ['https://api.example:8443/**', 'https://api.example/'],
    ['https://api.example/*', 'https://api.example/a/b'],
    ['https://*.example/**', 'https://a.b.example/'],
    ['https://*.example/**', 'https://example/'],
    ['https://*/**', 'https://api.example/'],
    ['https://[::1]/**', 'https://[::2]/'],
    ['https://api.example/**', 'https://xapi.example/'],
  ])('%s does not match %s', (pattern, url) => {
    expect(urlPattern(pattern).matches(readProofUrl(url))).toBe(false)
  })
})
