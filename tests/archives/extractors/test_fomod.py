from __future__ import annotations

import pytest

from loadstone.archives.extractors.fomod import parse_installer
from loadstone.archives.extractors.fomod_rules import World, evaluate, option_type, preselected
from loadstone.archives.extractors.registry import ExtractionError
from tests.archives.extractors.reading import read

CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<config xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:noNamespaceSchemaLocation="http://qconsulting.ca/fo3/ModConfig5.0.xsd">
  <moduleName>Lantern</moduleName>
  <moduleDependencies operator="And"><fileDependency file="Skyrim.esm" state="Active"/></moduleDependencies>
  <requiredInstallFiles><folder source="00 Core" destination=""/></requiredInstallFiles>
  <installSteps order="Explicit">
    <installStep name="Size">
      <optionalFileGroups order="Explicit">
        <group name="Textures" type="SelectExactlyOne">
          <plugins order="Explicit">
            <plugin name="2K"><description>small</description><image path="img\\2k.png"/>
              <conditionFlags><flag name="size">2k</flag></conditionFlags>
              <files><folder source="2K" destination="textures" priority="1"/></files>
              <typeDescriptor><type name="Optional"/></typeDescriptor></plugin>
            <plugin name="4K"><description/>
              <conditionFlags><flag name="size">4k</flag></conditionFlags>
              <files><folder source="4K" destination="textures" priority="1"/></files>
              <typeDescriptor><dependencyType><defaultType name="Optional"/><patterns><pattern>
                <dependencies operator="Or"><fileDependency file="ENB.esp" state="Active"/></dependencies>
                <type name="Recommended"/></pattern></patterns></dependencyType></typeDescriptor></plugin>
          </plugins>
        </group>
      </optionalFileGroups>
    </installStep>
    <installStep name="Patches">
      <visible><flagDependency flag="size" value="4k"/></visible>
      <optionalFileGroups>
        <group name="For" type="SelectAny"><plugins order="Ascending">
          <plugin name="Zed"><description/><files><file source="p\\zed.esp" destination="zed.esp"
              alwaysInstall="true"/></files>
            <typeDescriptor><type name="Optional"/></typeDescriptor></plugin>
          <plugin name="Alpha"><description/><files><file source="p/alpha.esp"/></files>
            <typeDescriptor><type name="NotUsable"/></typeDescriptor></plugin>
        </plugins></group>
      </optionalFileGroups>
    </installStep>
  </installSteps>
  <conditionalFileInstalls><patterns><pattern>
    <dependencies operator="And"><flagDependency flag="size" value="4k"/>
      <dependencies operator="Or"><gameDependency version="1.5.97"/></dependencies></dependencies>
    <files><file source="fix.esp" destination="fix.esp" priority="5"/></files>
  </pattern></patterns></conditionalFileInstalls>
</config>"""
PLAIN = World(files={"skyrim.esm": "Active"}, versions={"game": "1.6.640"})
WITH_ENB = World(files={"Skyrim.esm": "Active", "ENB.esp": "Active"}, versions={"game": "1.6.640"})


def sources(plan: object) -> list[str]:
    return [item.source for item in plan.files]  # type: ignore[attr-defined]


def test_the_installer_is_data() -> None:
    (manifest,) = read("fomod/ModuleConfig.xml", CONFIG)
    assert manifest.name == "Lantern"
    assert (manifest.data["steps"], manifest.data["options"]) == (2, 4)
    installer = parse_installer(CONFIG.encode())
    assert [option.name for option in installer.steps[1].groups[0].options] == ["Alpha", "Zed"]
    assert installer.steps[0].groups[0].options[0].image == "img\\2k.png"
    assert installer.steps[1].groups[0].options[1].files[0].source == "p/zed.esp"


def test_the_default_choice_follows_what_the_player_has() -> None:
    installer = parse_installer(CONFIG.encode())
    assert sources(evaluate(installer, None, PLAIN)) == ["00 Core", "2K"]
    assert sources(evaluate(installer, None, WITH_ENB)) == ["00 Core", "p/zed.esp", "4K", "fix.esp"]


def test_a_condition_on_the_games_version_is_a_minimum() -> None:
    old = World(files=WITH_ENB.files, versions={"game": "1.5.39"})
    assert "fix.esp" not in sources(evaluate(parse_installer(CONFIG.encode()), None, old))


def test_choices_that_break_a_groups_rule_are_named() -> None:
    installer = parse_installer(CONFIG.encode())
    plan = evaluate(installer, {(0, 0): [0, 1]}, PLAIN)
    assert any("SelectExactlyOne" in problem for problem in plan.problems)
    plan = evaluate(installer, {(0, 0): [1], (1, 0): [0]}, PLAIN)
    assert any("cannot be used" in problem for problem in plan.problems)
    assert plan.flags == {"size": "4k"}


def test_an_option_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ExtractionError):
        evaluate(parse_installer(CONFIG.encode()), {(0, 0): [7]}, PLAIN)


def test_unmet_requirements_are_named() -> None:
    assert evaluate(parse_installer(CONFIG.encode()), None, World()).problems


def test_the_type_of_an_option_depends_on_the_world() -> None:
    group = parse_installer(CONFIG.encode()).steps[0].groups[0]
    assert option_type(group.options[1], {}, PLAIN) == "Optional"
    assert option_type(group.options[1], {}, WITH_ENB) == "Recommended"
    assert preselected(group, {}, PLAIN) == [0]


def test_info_gives_name_and_version() -> None:
    info = "<fomod><Name>Lantern</Name><Author>Ann</Author><Version>1.2</Version></fomod>"
    (manifest,) = read("sub/FOMOD/Info.xml", info.encode("utf-16"))
    assert (manifest.name, manifest.version, manifest.authors) == ("Lantern", "1.2", ("Ann",))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "<other/>",
        CONFIG[:500],
        CONFIG.replace("SelectExactlyOne", "SelectEverything"),
        CONFIG.replace('name="NotUsable"', 'name="Evil"'),
        CONFIG.replace("gameDependency", "shellDependency"),
        '<!DOCTYPE config [<!ENTITY a "b">]>' + CONFIG[38:],
        "<config><moduleDependencies>"
        + "<dependencies>" * 30
        + "</dependencies>" * 30
        + "</moduleDependencies></config>",
        "<config>" + "<a>" * 70 + "</a>" * 70 + "</config>",
        b"\x00\x01\x02",
    ],
)
def test_a_hostile_installer_is_an_error_of_the_manifest_only(data: bytes | str) -> None:
    with pytest.raises(ExtractionError):
        read("fomod/ModuleConfig.xml", data)
