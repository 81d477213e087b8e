/**
 * A user who may read the instance's id but not its credentials spells the path of the credentials so that the policy may
 * see another one than the source: codings, dots, doubled and other slashes, parameters, versions, whole URLs.
 */
import { expect, inject, test } from 'vitest'
import { CREDENTIALS_PATH, sendRaw, whileServed } from '../harness/attack.ts'
import { tokenAs } from '../harness/unix-http.ts'

const USER = { uid: 61_111 }
const [ROLE = '', ...FOLDERS] = CREDENTIALS_PATH.split('/').reverse()
const FOLDER = FOLDERS.reverse().join('/')
const SPELLINGS = [
  ...[CREDENTIALS_PATH, `/${CREDENTIALS_PATH}`, `${CREDENTIALS_PATH}/`, `${CREDENTIALS_PATH}//`],
  ...[
    `${FOLDER}/./${ROLE}`,
    `${FOLDER}//${ROLE}`,
    `${FOLDER}/x/../${ROLE}`,
    `${FOLDER}/%2e/${ROLE}`,
  ],
  ...[
    `${FOLDER}/%64emo-role`,
    `${FOLDER}/%2564emo-role`,
    `${FOLDER}%2f${ROLE}`,
    `${FOLDER}%5c${ROLE}`,
  ],
  ...[
    `${FOLDER}\\${ROLE}`,
    `${CREDENTIALS_PATH};x=y`,
    `${CREDENTIALS_PATH}%00`,
    `${CREDENTIALS_PATH}%20`,
  ],
  ...[
    `${CREDENTIALS_PATH}?x`,
    `${CREDENTIALS_PATH}#x`,
    `${CREDENTIALS_PATH}%23`,
    `${CREDENTIALS_PATH}.`,
  ],
  ...['/2016-01-01', '/1.0', '/LATEST', '/latest/latest'].map((version) =>
    CREDENTIALS_PATH.replace('/latest', version),
  ),
  ...[CREDENTIALS_PATH.replace('ram', 'RAM'), CREDENTIALS_PATH.replace('ram', 'r%61m')],
  ...[`/latest/meta-data/instance-id/../${FOLDER.slice(18)}/${ROLE}`, CREDENTIALS_PATH.slice(1)],
  ...[`http://metadata${CREDENTIALS_PATH}`, `http://100.100.100.200${CREDENTIALS_PATH}`],
  ...[
    '/latest/meta-data/all',
    '/latest/user-data',
    '/latest/user%2ddata',
    '/latest/x/../user-data',
  ],
]

test('no spelling of a path gets what the path itself does not', async () => {
  const { metadataSocket } = inject('target')
  const { body: token } = await tokenAs(USER, metadataSocket)
  const head = `Host: x\r\nX-aliyun-ecs-metadata-token: ${token}\r\nConnection: close\r\n\r\n`
  const ask = (path: string) => sendRaw(metadataSocket, `GET ${path} HTTP/1.1\r\n${head}`, USER)
  expect(await ask('/latest/meta-data/instance-id')).toMatch(/^HTTP\/1\.1 200 /)
  await whileServed(metadataSocket, async () => {
    for (const path of SPELLINGS) {
      const got = await ask(path)
      expect(got, path).toMatch(/^HTTP\/1\.1 4\d\d /)
      expect(got, path).not.toMatch(/AccessKey|SecurityToken/)
    }
  })
})
