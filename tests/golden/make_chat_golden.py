# tests/golden/make_chat_golden.py - conversations as Jinja writes them from chat templates in the ways that models' are written.
"""Run: pip install jinja2==3.1.6; python tests/golden/make_chat_golden.py > tests/golden/chat.json

The templates are written here, short, with the expressions that those of well-known models are made of. They are rendered as
transformers' apply_chat_template does it, without a clock (strftime_now); null where the template raises an exception.
"""
import json

import jinja2
import jinja2.sandbox

ALTERNATE = "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns') }}{% endif %}"
CHATML = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
CHATML_PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
SPLIT = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}
{%- set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}OTHERWISE{% endif %}"""
LLAMA3 = """{%- for message in messages %}
    {#- A turn's "header" isn't trimmed, #}
    {%- if not 'tool_calls' in message %}
        {{- "<|start_header_id|>" + message.role + "<|end_header_id|>\\n\\n" + message.content | trim + "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
"""
LLAMA3_SYSTEM = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}DATE{{- system_message }}
{{- "<|eot_id|>" }}
"""
GEMMA = """{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception("turns") }}{%- endif -%}
    {%- if message['role'] == 'assistant' -%}{%- set role = "model" -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}
    {{ '<start_of_turn>' + role + '\\n'PREFIX }}{{ message['content'] | trim }}{{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"""


def split(otherwise=""):
    return SPLIT.replace("OTHERWISE", otherwise)


def mistral(begin, end, answer, system=None):
    """Turns between `begin` and `end`; the system message refused, in the user's turn that is loop.`system`, or a turn."""
    user = f"{{{{- '{begin}' + message['content'] + '{end}' }}}}"
    check = ALTERNATE
    if system in ("first", "last"):
        inside = f"{{{{- '{begin}' + system_message + '\\n\\n' + message['content'] + '{end}' }}}}"
        user = f"{{%- if loop.{system} and system_message is defined %}}{inside}{{%- else %}}{user}{{%- endif %}}"
    own = ""
    if system == "own":
        own = "{% elif message['role'] == 'system' %}{{ '[SYSTEM_PROMPT]' + message['content'] + '[/SYSTEM_PROMPT]' }}"
        check = ""
    head = split() if system in ("first", "last") else "{% set loop_messages = messages %}"
    return (
        head + "{{ bos_token }}{% for message in loop_messages %}" + check
        + "{% if message['role'] == 'user' %}" + user + own
        + "{% elif message['role'] == 'assistant' %}{{ " + answer + " }}"
        + "{% else %}{{ raise_exception('roles') }}{% endif %}{% endfor %}"
    )  # fmt: skip


def chatml(before=CHATML, loop="messages", head=""):
    return head + "{% for message in " + loop + " %}" + before + "{% endfor %}" + CHATML_PROMPT


TEMPLATES = {
    "ChatML": {
        "plain": chatml().replace("\\n", "\n"),
        "begins with bos": chatml(head="{{bos_token}}"),
        "default": chatml(
            "{% if loop.first and messages[0]['role'] != 'system' %}"
            "{{ '<|im_start|>system\\nYou\\'re it.<|im_end|>\\n' }}{% endif %}" + CHATML
        ),
        "default in the loop's text": chatml(
            "{% if loop.first and messages[0]['role'] != 'system' %}"
            "{{ '<|im_start|>system\nYou are it.<|im_end|>\n' }}{% endif %}"
            "{{'<|im_start|>' + message['role'] + '\n' + message['content'] }}{{ '<|im_end|>' + '\n' }}"
        ),
        "default variable": chatml(
            "{% if loop.index0 == 0 %}{{'<|im_start|>system\\n' + system_message + '<|im_end|>\\n'}}{% endif %}" + CHATML,
            "loop_messages",
            split("{% set system_message = 'You\\'re it, \\\"it\\\".' %}"),
        ),
        "tools": chatml(
            '{%- if (message.role == "user") or message.role != "tool" %}\n    {{- "<|im_start|>" + message.role + "\\n" '
            '+ message.content + "<|im_end|>" + "\\n" }}\n{%- endif %}',
            "messages",
            "{%- if tools %}{{- '<|im_start|>system\\n' }}{{- '# Tools\\n<tools>' }}{% for tool in tools %}{{ tool | tojson }}"
            "{% endfor %}{{- '<|im_end|>\\n' }}{%- elif messages[0].role != 'system' %}\n"
            "    {{- '<|im_start|>system\\nYou are it.<|im_end|>\\n' }}\n{%- endif %}\n",
        ),
    },
    "Llama 3": {
        "plain": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' "
        "+ message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
        "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
        "always a system turn": LLAMA3_SYSTEM.replace("DATE", "") + LLAMA3,
        "dated": LLAMA3_SYSTEM.replace(
            "DATE", '{{- "Cutting Knowledge Date: December 2023\\n" }}{{- "Today Date: " + date_string + "\\n\\n" }}'
        )
        + LLAMA3,
    },
    "Gemma": {
        "no system": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System') }}{% endif %}"
        "{% set loop_messages = messages %}" + GEMMA.replace("PREFIX", ""),
        "system": "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}"
        "{%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}{%- set loop_messages = messages[1:] -%}"
        '{%- else -%}{%- set first_user_prefix = "" -%}{%- set loop_messages = messages -%}{%- endif -%}'
        + GEMMA.replace("PREFIX", ' + (first_user_prefix if loop.first else "")'),
    },
    "Llama 2": {
        "plain": split("{% set system_message = false %}")
        + "{% for message in loop_messages %}" + ALTERNATE + "{% if loop.index0 == 0 and system_message != false %}"
        "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
        "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    },
    "Mistral": {
        "v1": mistral("[INST] ", " [/INST]", "message['content'] + eos_token"),
        "v1, a space after": mistral("[INST] ", " [/INST]", "message['content'] + eos_token + ' '"),
        "v1, system first": mistral(" [INST] ", " [/INST]", "' ' + message['content'] + eos_token", "first"),
        "v3, system last": mistral("[INST] ", "[/INST]", "' ' + message['content'] + eos_token", "last"),
        "v3 tekken": mistral("[INST]", "[/INST]", "message['content'] + eos_token", "last"),
        "v7": mistral("[INST]", "[/INST]", "message['content'] + eos_token", "own"),
    },
    # What is like one of them and is not.
    "": {
        "another separator": chatml("{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>' }}"),
        "thoughts": chatml() + "{{ '<think>\\n' }}",
        "trimmed": chatml("{{'<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>'}}"),
        "system without a turn": chatml(head="{% if system_message is defined %}{{ system_message }}{% endif %}"),
        "one role": "{{ '<|start_header_id|>user<|end_header_id|>\\n\\nIs this safe? ' + messages[0]['content'] | trim }}",
        "not trimmed": LLAMA3.replace(" | trim", ""),
        "a clock": "{% set today = strftime_now('%Y') %}" + mistral("[INST]", "[/INST]", "message['content'] + eos_token", "own"),
        "two ways to ask": mistral("[INST]", "[/INST]", "message['content'] + eos_token") + "{{ '[INST] ' }}",
        "another system": mistral("[INST]", "[/INST]", "message['content'] + eos_token").replace(
            "{{ bos_token }}", "{{ bos_token }}{% set system_message = 'Be brief.' %}{{ system_message }}"
        ),
        "no template": "{{ messages[0]['content'] }}",
        "not closed": "{{ '<|im_start|>' + message['role",
    },
}

CONVERSATIONS = [
    [("user", "Hi")],
    [("system", "Be brief."), ("user", "Hi")],
    [("user", "Hi"), ("assistant", "Hello."), ("user", "Who are you?")],
    [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello."), ("user", "Who?"), ("assistant", "Me."), ("user", "Ok")],
    [("user", " Hi \n"), ("assistant", "\n Hello. "), ("user", "\tWho?\u00a0\u3000")],
    [("system", "  Sei kurz, ñ 漢字. \n"), ("user", " Grüße 🙂\n\nzwei\x1f ")],
    [("system", ""), ("user", "x")],
]


def refuse(message):
    raise jinja2.TemplateError(message)


def main():
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    conversations = [[{"role": role, "content": content} for role, content in each] for each in CONVERSATIONS]

    def render(jinja, messages):
        try:
            names = {"messages": messages, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
            return environment.from_string(jinja).render(names)
        except jinja2.TemplateError:
            return None

    templates = [
        {"kind": kind, "name": name, "jinja": jinja}
        | ({"texts": [render(jinja, messages) for messages in conversations]} if kind else {})
        for kind, each in TEMPLATES.items()
        for name, jinja in each.items()
    ]
    print(json.dumps({"conversations": conversations, "templates": templates}, ensure_ascii=False, indent=0))


main()
