import { describe, expect, test } from 'vitest'
import { auditedIn, signaturesIn } from './audit.ts'

/** The shapes are those of npm 11. */

const WRONG = JSON.stringify({
  auditReportVersion: 2,
  vulnerabilities: { fastify: { name: 'fastify', severity: 'high', isDirect: true } },
  metadata: { vulnerabilities: { high: 1, total: 1 } },
})

describe('what is known to be wrong', () => {
  test('fails if it is shipped, and is told if it is a tool', () => {
    expect(auditedIn(WRONG, true)).toEqual({ verdict: 'failed', sentences: ['fastify: high'] })
    expect(auditedIn(WRONG, false)).toEqual({ verdict: 'passed', sentences: ['fastify: high'] })
  })

  test('passes if there is nothing', () => {
    const none = JSON.stringify({ auditReportVersion: 2, vulnerabilities: {} })
    expect(auditedIn(none, true)).toEqual({ verdict: 'passed', sentences: [] })
  })

  test.each([
    ['a registry without the call', '{"message":"405 Method Not Allowed","method":"POST"}', '405'],
    ['no network', '{"error":{"code":"ENOTFOUND","summary":"getaddrinfo ENOTFOUND"}}', 'ENOTFOUND'],
    ['nothing', '', 'no answer'],
    ['no JSON', 'npm error', 'no answer'],
  ])('is not answered by %s', (_what, json, reason) => {
    expect(auditedIn(json, true)).toEqual({
      verdict: 'not answered',
      sentences: [expect.stringContaining(reason)],
    })
    expect(signaturesIn(json).verdict).toBe('not answered')
  })
})

test('signatures that are wrong or missing fail', () => {
  const part = { name: 'zod', version: '1.0.0' }
  expect(signaturesIn(JSON.stringify({ invalid: [], missing: [] })).verdict).toBe('passed')
  for (const said of [
    { invalid: [part], missing: [] },
    { invalid: [], missing: [part] },
  ]) {
    expect(signaturesIn(JSON.stringify(said))).toMatchObject({
      verdict: 'failed',
      sentences: [expect.stringContaining('zod@1.0.0')],
    })
  }
})
