/**
 * A user takes a token that was made for another one, and shows it again with a bit of each byte turned, with a byte
 * more or less, in other spellings of base64, and guesses others.
 */

import { expect, inject, test } from 'vitest'
import { APP, attack, whileServed } from '../harness/attack.ts'
import { PYTHON_UNIX_HTTP } from '../harness/python-unix-http.ts'
import { tokenAs } from '../harness/unix-http.ts'

const SHOW = `${PYTHON_UNIX_HTTP}import base64,os
there = Unix('metadata')
def status(token):
  there.request('GET', '/latest/meta-data/instance-id', headers={'x-aliyun-ecs-metadata-token': token})
  answer = there.getresponse()
  answer.read()
  return answer.status
token = sys.argv[2]
raw = base64.urlsafe_b64decode(token + '==')
spelled = lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip('=')
turned = [spelled(raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1:]) for at in range(len(raw))]
last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
spellings = [token[:-1] + one for one in last if one != token[-1]]
spellings += [token + '=', token + '==', token + 'A', token[:-1], '"%s"' % token, token.upper(), spelled(raw + b'x')]
spellings += [token.replace('-', '+').replace('_', '/') + '==', 'Bearer ' + token]
guesses = [spelled(raw[:32] + os.urandom(32)) for _ in range(50)] + [spelled(os.urandom(64)) for _ in range(50)]
print(status(token), *sorted({status(one) for one in turned + spellings + guesses}))`

test('no other spelling of a token, and no guess, is taken', async () => {
  const { metadataSocket } = inject('target')
  const { body: token } = await tokenAs({ uid: APP }, metadataSocket)
  const statuses = await whileServed(metadataSocket, () =>
    // As the user whose token it is: nothing but its spelling is wrong.
    attack(SHOW, [metadataSocket, token], { uid: APP }),
  )
  expect(statuses).toBe('200 401\n')
})
