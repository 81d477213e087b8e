import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const PROGRAM = `
import json, sys, jwt
asked = json.load(sys.stdin)
key = jwt.PyJWKClient(asked["jwks"]).get_signing_key_from_jwt(asked["token"])
try:
    print(json.dumps(jwt.decode(asked["token"], key.key, algorithms=[asked["algorithm"]],
                                issuer=asked["issuer"], audience=asked["audience"])))
except jwt.PyJWTError as error:
    print(json.dumps(type(error).__name__))
`

/** What PyJWT says of a token: its claims, or the name of its error. */
export async function pythonVerdict(asked: {
  readonly token: string
  readonly jwks: string
  readonly algorithm: string
  readonly issuer: string
  readonly audience: string
}): Promise<unknown> {
  const running = promisify(execFile)('/usr/bin/python3', ['-c', PROGRAM], { timeout: 240_000 })
  running.child.stdin?.end(JSON.stringify(asked))
  return JSON.parse((await running).stdout)
}
