import { expect, test } from 'vitest'
import { roleErrorIn, roleErrorOf } from '../../src/dialect/role-code.ts'
import { ERRORS } from '../../src/error-table.ts'

const refusalOf = (code: string) =>
  `SOURCE_ROLE: ${ERRORS.SOURCE_ROLE.sentence} ${roleErrorOf(code).detail}`

test('the Code of the cloud goes to the agent, its refusal and the client as it is', () => {
  for (const code of ['AssumeRoleUnauthorizedAccess', 'NoPermission.x-1_2', 'x'.repeat(64)]) {
    expect(roleErrorIn(refusalOf(code))).toMatchObject({ code: 'SOURCE_ROLE', roleCode: code })
  }
})

test('what is no word is not repeated', () => {
  for (const code of ['', 'two words', 'a\nb', '\u001b[31m', 'x'.repeat(65), 'é', '<b>']) {
    expect(roleErrorOf(code).roleCode).toBe('unreadable')
  }
})

test('other refusals are others', () => {
  for (const text of [
    '',
    'SOURCE_ROLE: The cloud gives no credentials for this role.',
    'SOURCE_DOWN: It does not answer. Its Code is X.',
    `${refusalOf('X')}\n`,
    refusalOf('X').replace(' X.', ' \u001b[31m.'),
  ]) {
    expect(roleErrorIn(text)).toBeUndefined()
  }
})
