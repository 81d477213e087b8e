import { RoleError } from '../errors.ts'

// It goes to callers, logs and terminals: a word, or it is not repeated.
const WORD = /^[A-Za-z0-9._-]{1,64}$/
const IN_REFUSAL = /^SOURCE_ROLE: .* Its Code is ([A-Za-z0-9._-]{1,64})\.$/

/**
 * What a metadata service says in place of credentials: an answer of 200 whose Code is not Success,
 * mostly because the role's trust policy does not let the instance assume it.
 */
export function roleErrorOf(code: string): RoleError {
  return new RoleError(WORD.test(code) ? code : 'unreadable')
}

/** The same in the agent's refusal; undefined if it is another. */
export function roleErrorIn(refusal: string): RoleError | undefined {
  const code = IN_REFUSAL.exec(refusal)?.[1]
  return code === undefined ? undefined : new RoleError(code)
}
