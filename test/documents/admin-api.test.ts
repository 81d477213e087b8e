import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { ADMIN_CALLS } from '../../src/admin-api.ts'

/** docs/admin.md lists what each call of the admin socket is asked and answers. */

const PAGE = readFileSync(new URL('../../docs/admin.md', import.meta.url), 'utf8')

type Json = z.core.JSONSchema.JSONSchema

/** The members of a schema in the words of the page. */
function membersOf(schema: Json): string {
  const alternatives = schema.anyOf ?? schema.oneOf
  if (alternatives?.every(({ type }) => type === 'object')) {
    return alternatives.map(membersOf).join(' | ')
  }
  const members = Object.entries(schema.properties ?? {}).map(([name, of]) => {
    const isOptional = !schema.required?.includes(name)
    return `${name}${isOptional ? '?' : ''}${typeof of === 'object' ? nestedOf(of) : ''}`
  })
  return members.join(', ')
}

function nestedOf(schema: Json): string {
  if (schema.type === 'object') return ` { ${membersOf(schema)} }`
  return schema.type === 'array' ? ` ${listOf(schema)}` : ''
}

function listOf({ items }: Json): string {
  const members = typeof items === 'object' && !Array.isArray(items) ? membersOf(items) : ''
  return members === '' ? '[ ]' : `[ ${members} ]`
}

function inWords(schema: z.ZodType): string {
  const json = z.toJSONSchema(schema, { unrepresentable: 'any' })
  return json.type === 'array' ? listOf(json) : membersOf(json)
}

/** What a block of the page has after a heading, in one line. */
function blockOf(section: string, heading: string): string {
  const [, block = ''] =
    section.match(new RegExp(`${heading}:\n\n\`\`\`\n(.*?)\n\`\`\``, 's')) ?? []
  return block.replaceAll('\n', ' ')
}

describe.each(Object.entries(ADMIN_CALLS))('%s', (name, call) => {
  const [, after = ''] = PAGE.split(`\n## ${name}\n`)
  const [section = ''] = after.split('\n## ')

  test('is on the page, with its method and members', () => {
    expect(section).toContain(`\`${call.method} ${name}\``)
    expect(call.name).toBe(name)
    expect(blockOf(section, 'Request')).toBe('request' in call ? inWords(call.request) : '')
    expect(blockOf(section, 'Answer')).toBe(inWords(call.answer))
  })
})

test('the page has no other call', () => {
  const sections = [...PAGE.matchAll(/^## ([a-z]+)$/gm)].map(([, name]) => name)
  expect(sections).toEqual(Object.keys(ADMIN_CALLS))
})
