import { describe, expect, test } from 'vitest'
import { readProofUrl } from '../../src/policy/proof-url.ts'

describe('a URL', () => {
  test.each([
    ['https://api.example', 'https://api.example/'],
    ['HTTPS://API.Example:443/Orders?x=y#z', 'https://api.example/Orders'],
    ['http://api.example:80/', 'http://api.example/'],
    ['https://api.example:8443/a/', 'https://api.example:8443/a/'],
    ['https://api.example/a%20b/%E4', 'https://api.example/a%20b/%E4'],
    ['https://[::1]:8443/a', 'https://[::1]:8443/a'],
    ['https://127.0.0.1/a', 'https://127.0.0.1/a'],
    [`https://h/?${'q'.repeat(1900)}`, 'https://h/'],
  ])('%s stands in proofs as %s', (written, text) => {
    expect(readProofUrl(written).text).toBe(text)
  })

  test.each([
    '',
    '/orders',
    'api.example/orders',
    'ftp://api.example/',
    'file:///etc/passwd',
    'https:/api.example/',
    'https://',
    'https://user@api.example/',
    'https://user:password@api.example/',
    'https://api.example@attacker.example/',
    'https://api.example./',
    'https://api.example.:8443/',
    'https://api_example/',
    'https://0x7f.1/',
    'https://2130706433/',
    'https://[0:0:0:0:0:0:0:1]/',
    'https://api.example:99999/',
    'https://api.example:0443/',
    'https://api.example:80:443/',
    'https://api.example/a/../b',
    'https://api.example/a/./b',
    'https://api.example/a/%2e%2e/b',
    'https://api.example/a/..;/b',
    'https://api.example/a;b=c',
    'https://api.example//a',
    'https://api.example/a//b',
    'https://api.example/a//',
    'https://api.example/a\\b',
    'https://api.example/a%2Fb',
    'https://api.example/a%5Cb',
    'https://api.example/a%00b',
    'https://api.example/a%0Db',
    'https://api.example/a%3Fb',
    'https://api.example/a%252Fb',
    'https://api.example/%61',
    'https://api.example/app%40prod',
    'https://api.example/a%3Db',
    'https://api.example/a%3Ab%2Cc%2B%26%24%21%27%28%29%2A',
    'https://api.example/%C0%AE%C0%AE/b',
    'https://api.example/%E0%80%AE/b',
    'https://.example/',
    'https://api..example/',
    'https://api.example/%e4',
    'https://api.example/%',
    'https://api.example/a b',
    'https://api.example/ä',
    'https://api.example/a\r\nX: y',
    'https://api.example/a\tb',
    ' https://api.example/',
    'https://api.example/\u0000',
    `https://api.example/${'a'.repeat(2048)}`,
  ])('is refused: %j', (written) => {
    expect(() => readProofUrl(written)).toThrow(expect.objectContaining({ code: 'PROOF_URL' }))
  })
})
