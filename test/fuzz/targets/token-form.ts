import assert from 'node:assert/strict'
import { tokenRequestOf } from '../../../src/registrar/token-request.ts'
import { Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const GRANT = 'urn:ietf:params:oauth:grant-type'
const TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:jwt'
const NAMES = [
  ...['grant_type', 'subject_token', 'subject_token_type', 'assertion', 'audience', 'format'],
  ...['requested_token_type', 'actor_token', 'resource', 'scope', 'other', ''],
] as const
const VALUES = [
  ...[`${GRANT}:token-exchange`, `${GRANT}:jwt-bearer`, TOKEN_TYPE, 'a.b.c', 'sts.example', ''],
  ...['a+b', 'a%20b', '%00', '%', '%zz', '%e4', 'é', 'x=y'],
] as const
/** What a name or a separator is written as otherwise, or what only looks like it. */
const JOINTS = ['&', '=', ';', '+', '%26', '%3D', '&&', '?', '#', '\n'] as const
const ONCE = NAMES.slice(0, 7)

export const target: FuzzTarget = {
  execution:
    'one form read as a request for a token; nothing counts that another reader of forms reads otherwise, or twice',
  bytesMax: 512,
  turns: 3,
  words: ['grant_type=', '&audience=', '&subject_token=', '%3A', 'jwt-bearer'],
  seeds: () => [
    asItIs(`grant_type=${GRANT}:jwt-bearer&assertion=a.b.c&audience=sts.example`),
    asItIs(
      `grant_type=${GRANT}:token-exchange&subject_token_type=${TOKEN_TYPE}&subject_token=a&audience=b`,
    ),
    chosen(0, 1, 0, 3, 3, 0, 4, 4, 0),
    chosen(0, 0, 0, 2, 2, 0, 1, 3, 0, 4, 4, 0),
  ],
  run(input) {
    const choices = new Choices(input)
    const form = choices.byte() === CHOSEN ? formOf(choices) : choices.rest().toString()
    const { code, value } = outcome(() => tokenRequestOf(form))
    if (code !== undefined) {
      assert.match(code, /^REGISTRAR_(REQUEST|GRANT)$/)
      return
    }
    const fields = fieldsOf(form)
    for (const name of ONCE) assert.ok(fields.filter(([one]) => one === name).length <= 1, name)
    for (const name of ['actor_token', 'actor_token_type', 'resource', 'scope']) {
      assert.ok(!fields.some(([one]) => one === name), name)
    }
    const field = (name: string) => fields.find(([one]) => one === name)?.[1]
    const token = field('grant_type')?.endsWith('jwt-bearer') ? 'assertion' : 'subject_token'
    assert.equal(value.identityToken, field(token))
    assert.equal(value.audience, field('audience'))
    assert.equal(value.format, field('format'))
    assert.equal(value.requestedType, field('requested_token_type'))
  },
}

function formOf(choices: Choices): string {
  let form = ''
  while (!choices.isEmpty && form.length < 2000) {
    const [name, value] = [choices.pick(NAMES), choices.pick(VALUES)]
    form += `${name}=${value}${choices.pick(JOINTS)}`
  }
  return form
}

/** As the URL Standard reads them (application/x-www-form-urlencoded, 5.1), octet by octet. */
function fieldsOf(form: string): readonly (readonly [string, string])[] {
  return form
    .split('&')
    .filter((field) => field !== '')
    .map((field) => {
      const [name = '', ...value] = field.split('=')
      return [decoded(name), decoded(value.join('='))] as const
    })
}

function decoded(text: string): string {
  const octets = Buffer.from(text.replaceAll('+', ' '))
    .toString('latin1')
    .replace(/%([\da-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.from(octets, 'latin1'))
}
