import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ERRORS } from '../../src/error-table.ts'
import { type ErrorCode, outsideCode } from '../../src/errors.ts'
import { newCounters } from '../../src/relay/counters.ts'

/** The drawing of a request in ARCHITECTURE.md names what the relay can answer. */

const PAGE = readFileSync(new URL('../../ARCHITECTURE.md', import.meta.url), 'utf8')
const [, SECTION = ''] = PAGE.split('\n## Request to answer\n')
const [, DRAWING = ''] = SECTION.split('```')
const DRAWN = [...DRAWING.matchAll(/\b([A-Z_]{4,}) (\d{3})\b/g)].map(([, code = '', status]) => ({
  code,
  status: Number(status),
}))

// Counted with the others of their families, and never an answer to a request for metadata.
const TOLD_ELSEWHERE: readonly ErrorCode[] = [
  'SOURCE_OTHER', // metabind status, of a start
  'SOURCE_CLOUD', // metabind/alicloud
  'LIMIT_REVOCATIONS', // metabind revoke
]

function isCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text)
}

/** What the relay counts its answers by: every code that it can give. */
function answerable(): readonly ErrorCode[] {
  const counted = [...newCounters().requests.values()].flatMap((codes) => [...codes.keys()])
  return [...new Set(counted)].filter(isCode).filter((code) => !TOLD_ELSEWHERE.includes(code))
}

describe('the drawing of a request', () => {
  test('has every code that the relay can answer, as callers are told it', () => {
    const drawn = DRAWN.map(({ code }) => code)
    expect(answerable()).toContain('POLICY_DENIED')
    expect(answerable().filter((code) => !drawn.includes(outsideCode(code)))).toEqual([])
    // Told as another, and drawn for what it says of the agent.
    expect(drawn).toContain('AGENT_STOPPED')
  })

  test('has no other code', () => {
    const known: readonly string[] = answerable()
    expect(DRAWN.map(({ code }) => code).filter((code) => !known.includes(code))).toEqual([])
  })

  test.each(DRAWN)('$code has the status $status', ({ code, status }) => {
    expect(isCode(code) && ERRORS[code].status).toBe(status)
  })
})

describe('the picture of the agent', () => {
  const picture = readFileSync(new URL('../../docs/architecture.svg', import.meta.url), 'utf8')
  const inside = [...picture.matchAll(/fill="#dff0d8".*\n<text [^>]*>(\w+)</g)].map(
    ([, name]) => name,
  )
  const beside = [...picture.matchAll(/\b(\w+)\/(?=[ ,<])/g)].map(([, name]) => name)

  test.each([...inside, ...beside])('%s is a folder of src/', (name = '') => {
    if (name !== 'src')
      expect(existsSync(new URL(`../../src/${name}/`, import.meta.url))).toBe(true)
  })

  test('is named, and has what a request passes', () => {
    expect(PAGE).toContain('](docs/architecture.svg)')
    const passed = ['http', 'caller', 'relay', 'policy', 'token', 'metadata', 'identity']
    expect(inside).toEqual(expect.arrayContaining(passed))
  })
})
